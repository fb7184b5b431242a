"""The guide's models: YAML alone, found beside the program's."""

from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.planning.profile import profile_model
from tests.system.in_process import make_settings, run_script


def test_sizes_of_ones_own_make_a_stream_of_random_weights(guide):
    summary, run = run_script(guide[0], "model=small", "model.weights=random", chunks=3)
    assert summary.config.model == "small"
    assert summary.frames == 9 + 2 * 12
    settings = run.settings
    assert (settings.model.sizes.dim, settings.model.sizes.num_layers, settings.model.steps) == (96, 2, (1000, 500))
    made, config = make_settings(guide[0], "model=small", "model.weights=random", "layout=cpu")
    found = profile_model(made, config, Registry(made).strategies)
    assert found.components["generator"] < 2**22


def test_a_model_chooses_its_context_unless_another_one_is_given(guide, tmp_path):
    path = tmp_path / "options" / "model" / "small.yaml"
    path.write_text(path.read_text().replace("clean_pass", "recompute_latent"))
    made, _ = make_settings(guide[0], "model=small", "model.weights=random")
    assert (made.context.name, made.model.context) == ("recompute_latent", "recompute_latent")
    made, _ = make_settings(guide[0], "model=small", "model.weights=random", "context=none")
    assert (made.context.name, made.model.context) == ("none", "recompute_latent")
