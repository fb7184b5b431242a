"""A mesh in rank 0's process that is given up: nothing of its generator stays, though its link or error is held."""

import gc
import weakref

import torch

from pp1_orchestrator.errors import MeshError, clear_frames
from pp1_orchestrator.layouts.inline import InlineLayout
from pp1_orchestrator.models.wan.generator import CausalGenerator
from tests.system.in_process import SMALL, make_settings


def generators():
    return {id(found) for found in gc.get_objects() if type(found) is CausalGenerator}


def test_a_stopped_meshs_generator_is_gone_while_its_link_is_held():
    before = generators()
    mesh = InlineLayout(*make_settings(*SMALL)).start(None, 0)
    link = mesh.connect()
    assert len(generators() - before) == 1
    mesh.stop(None, 0.0)
    assert not generators() - before
    mesh.stop(None, 0.0)  # as after a start that failed
    assert link.device.type == "cpu"


def raise_with(tensor):
    try:
        raise RuntimeError("out of memory")
    except RuntimeError as error:
        raise MeshError("a chunk could not be made") from error


def test_an_error_that_is_still_told_holds_no_tensors():
    tensor = torch.zeros(4)
    gone = weakref.ref(tensor)
    try:
        raise_with(tensor)
    except MeshError as error:
        del tensor
        assert gone() is not None
        clear_frames(error)
        assert gone() is None
