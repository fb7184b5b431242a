"""A run's models: what each rank holds, what each part computes for a chunk, in what memory. Opens no weight file."""

from dataclasses import dataclass

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.inputs_outputs import Requirements, requirements
from pp1_orchestrator.planning.op_counter import OpCounts
from pp1_orchestrator.planning.part_profiles import Part, PartProfile, profile_mesh, profile_text, profile_vae
from pp1_orchestrator.planning.strategy_traits import Strategies


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """What a run's models need.

    components: bytes of every part that some rank may hold. work: one call of each part on one rank, namely a denoising
    pass over a full window, a pass that only writes keys and values, the decode of a chunk, the encode of a frame where
    the context needs it, and a prompt. activation_peak: the most bytes alive beyond the components while a part works.
    The generator's covers both kinds of pass, and a new prompt's keys and values, made while the old ones are held.
    """

    needs: Requirements
    components: dict[str, int]
    work: dict[Part, OpCounts]
    activation_peak: dict[Part, int]


def profile_model(settings: Settings, config: WanConfig, strategies: Strategies) -> ModelProfile:
    """Raises ConfigError for a model or a size that can't be run."""
    needs = requirements(settings, config)
    mesh = profile_mesh(settings, config, needs)
    stage0 = profile_vae(settings, strategies, needs)
    text = profile_text(settings, needs)
    return join_parts(needs, mesh, stage0, text)


def join_parts(needs: Requirements, mesh: PartProfile, stage0: PartProfile, text: PartProfile) -> ModelProfile:
    """The profile of a run with these parts."""
    peaks: dict[Part, int] = {
        "generator": max(mesh.peaks.values()),
        "decode": stage0.peaks["decode"] + stage0.peaks.get("encode_input", 0),  # that is another thread's work
        "text": text.peaks["text"],
    }
    components = mesh.components | stage0.components | text.components
    return ModelProfile(needs, components, mesh.work | stage0.work | text.work, peaks)
