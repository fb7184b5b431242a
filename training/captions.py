"""Captions of scenes: a small random grammar with synonyms, omitted attributes, style words and junk words.

Every caption is returned with the scene that it means, because an omitted attribute means its default. Knows the
attributes of the world, but nothing of tokens or pixels.
"""

import random
import re
from dataclasses import replace
from typing import Final

from training.world.attributes import BACKGROUNDS, COLORS, DEFAULT_SCENE, EMPTY, SHAPES, SIZES, Scene

COLOR_WORDS: Final = {"purple": ("purple", "purple", "violet"), "cyan": ("cyan", "cyan", "turquoise")}
BACKGROUND_WORDS: Final = {"gray": ("gray", "grey"), "white": ("white", "white", "light")}
SHAPE_WORDS: Final = {
    "circle": ("circle", "circle", "circle", "ball", "disc", "dot"),
    "square": ("square", "square", "square", "box", "block"),
    "ring": ("ring", "ring", "ring", "hoop", "donut"),
    "cross": ("cross", "cross", "cross", "plus"),
}
SIZE_WORDS: Final = {"small": ("small", "tiny", "little"), "big": ("big", "large", "huge"), "medium": ("medium",)}
SPEED_WORDS: Final = {"slow": ("slowly",), "fast": ("fast", "quickly"), "normal": ("",)}
_TRAVEL: Final = ("moving", "moving", "moving", "going", "drifting", "sliding", "flying", "moves", "goes", "that moves")


def _travel(way: str, *others: str) -> tuple[str, ...]:
    return (*(f"{verb} {way}" for verb in _TRAVEL), *others)


MOTION_WORDS: Final = {
    "left": _travel("left", "moving to the left", "drifting to the left", "moves to the left", "going to the left"),
    "right": _travel("right", "moving to the right", "drifting to the right", "moves to the right"),
    "up": _travel("up", "moving upwards", "drifting upwards", "rising", "going upwards"),
    "down": _travel("down", "moving downwards", "drifting downwards", "falling", "going downwards"),
    "bouncing": ("bouncing", "bouncing", "bouncing", "bouncing around", "that bounces", "bounces"),
    "still": ("standing still", "still", "not moving", "staying still", "motionless", "holding still"),
    "rotating": ("rotating", "rotating", "spinning", "spinning", "spinning around", "that spins", "rotates", "spins"),
    "pulsing": ("pulsing", "pulsing", "pulsating", "growing and shrinking", "that pulses", "pulses"),
}
PLACES: Final = (
    *("on a {} background",) * 5,
    "against a {} background",
    "over a {} background",
    "with a {} background",
    "in front of a {} background",
    "{} background",
    "on {}",
)
EMPTY_PLACES: Final = (
    "an empty {} background",
    "nothing on a {} background",
    "empty {} background",
    "just an empty {} background",
)
OPENINGS: Final = (*("",) * 8, "a video of", "video of", "a clip of", "an animation of", "show me")
STYLES: Final = ("high quality", "simple", "flat", "cinematic", "4k", "smooth", "beautiful", "please", "detailed")
_FILLERS: Final = ("a", "an", "the", "and", "is", "shape", "object", "in", "of", "at", "to", "with", "speed", "colour")

_OMIT: Final = {"color": 0.04, "shape": 0.03, "motion": 0.05, "background": 0.06}


def vocabulary() -> list[str]:
    """Every word that a caption may contain, sorted, except junk words."""
    tables = (COLOR_WORDS, BACKGROUND_WORDS, SHAPE_WORDS, SIZE_WORDS, SPEED_WORDS, MOTION_WORDS)
    phrases = [phrase for entries in tables for group in entries.values() for phrase in group]
    phrases += [*PLACES, *EMPTY_PLACES, *OPENINGS, *STYLES, *_FILLERS, "color", "colored"]
    phrases += [*COLORS, *BACKGROUNDS, *SHAPES, *SIZES, *(f"{shape}s" for shape in SHAPES)]
    return sorted({word for phrase in phrases for word in re.findall(r"[a-z0-9]+", phrase)})


def plain_caption(scene: Scene) -> tuple[str, Scene]:
    """The plain caption of a scene, and its meaning: "a red circle moving left on a blue background"."""
    if scene.shape == EMPTY:
        return f"an empty {scene.background} background", scene
    if scene.motion == "still":
        scene = replace(scene, speed="normal")
    size = "" if scene.size == "medium" else scene.size
    subject = " ".join(word for word in (size, scene.color, scene.shape) if word)
    motion = {"still": "standing still"}.get(scene.motion, scene.motion)
    if scene.motion in ("left", "right", "up", "down"):
        motion = f"moving {scene.motion}"
    action = f"{motion} {SPEED_WORDS[scene.speed][-1]}".strip()
    return f"{_article(subject)} {subject} {action} on a {scene.background} background", scene


def random_caption(
    scene: Scene, rng: random.Random, keep_meaning: bool = False, with_motion: bool = True
) -> tuple[str, Scene]:
    """A random caption for `scene`, and the scene that it means.

    Args:
        keep_meaning: omits only attributes that have their default value, so that the caption means `scene`.
        with_motion: may say how the object moves. Without, its motion is the default one, whatever keep_meaning is.
    """
    if scene.shape == EMPTY:
        return rng.choice(EMPTY_PLACES).format(_word(BACKGROUND_WORDS, scene.background, rng)), scene
    omitted = {name for name, chance in _OMIT.items() if rng.random() < chance}
    if keep_meaning:
        omitted = {name for name in omitted if _is_default(scene, name)}
    if not with_motion:
        omitted.add("motion")
    scene = replace(scene, **{name: getattr(DEFAULT_SCENE, name) for name in omitted})
    if "motion" in omitted or scene.motion == "still":
        scene = replace(scene, speed=DEFAULT_SCENE.speed)
    subject, action, place = _subject(scene, omitted, rng), _action(scene, omitted, rng), _place(scene, omitted, rng)
    return _finish(_arrange(subject, action, place, rng), rng), scene


def _is_default(scene: Scene, name: str) -> bool:
    same = getattr(scene, name) == getattr(DEFAULT_SCENE, name)
    return same and (name != "motion" or scene.speed == DEFAULT_SCENE.speed)


def _word(words: dict[str, tuple[str, ...]], value: str, rng: random.Random) -> str:
    return rng.choice(words.get(value, (value,)))


def _article(subject: str) -> str:
    return "an" if subject[0] in "aeiou" else "a"


def _subject(scene: Scene, omitted: set[str], rng: random.Random) -> str:
    words = []
    if rng.random() < 0.06:
        words.append(rng.choice(STYLES))
    if scene.size != "medium" or rng.random() < 0.08:
        words.append(_word(SIZE_WORDS, scene.size, rng))
    if "color" not in omitted:
        words.append(_word(COLOR_WORDS, scene.color, rng))
    words.append(rng.choice(("", "shape", "object")) if "shape" in omitted else _word(SHAPE_WORDS, scene.shape, rng))
    subject = " ".join(word for word in words if word)
    if not subject or rng.random() < 0.15:
        return subject
    return f"{_article(subject) if rng.random() < 0.93 else 'the'} {subject}"


def _action(scene: Scene, omitted: set[str], rng: random.Random) -> str:
    if "motion" in omitted:
        return ""
    motion, speed = rng.choice(MOTION_WORDS[scene.motion]), rng.choice(SPEED_WORDS[scene.speed])
    words = (speed, motion) if rng.random() < 0.2 else (motion, speed)
    action = " ".join(word for word in words if word)
    return f"is {action}" if rng.random() < 0.08 else action


def _place(scene: Scene, omitted: set[str], rng: random.Random) -> str:
    if "background" in omitted:
        return ""
    return rng.choice(PLACES).format(_word(BACKGROUND_WORDS, scene.background, rng))


def _arrange(subject: str, action: str, place: str, rng: random.Random) -> list[str]:
    order = rng.random()
    parts = [part for part in (subject, action, place) if part]
    if order < 0.08 and place:
        parts = [f"{place},", *parts[:-1]]
    elif order < 0.16:
        parts = [*(f"{part}," for part in parts[:-1]), *parts[-1:]]
    if rng.random() < 0.1:
        parts.append(f", {rng.choice(STYLES)}")
    if rng.random() < 0.12:
        parts.insert(rng.randrange(len(parts) + 1), _junk(rng))
    return parts


def _junk(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))


def _finish(parts: list[str], rng: random.Random) -> str:
    text = " ".join(part for part in (rng.choice(OPENINGS), *parts) if part).replace(" ,", ",")
    if rng.random() < 0.1:
        text += "."
    if rng.random() < 0.15:
        text = text[:1].upper() + text[1:]
    return text
