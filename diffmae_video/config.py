"""Reads recipes: YAML files that name the options which differ from their defaults.

``_BASE_`` in a recipe names another recipe to start from, or several, of which later ones win. options.py
declares the options.
"""

import difflib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from diffmae_video.errors import InputError
from diffmae_video.options import OPTIONS, Option

RECIPES = Path(__file__).parent / "recipes"  # configs/ of the repository, which the wheel carries too


def default_config() -> CfgNode:
    """All options with their defaults, as a tree: ``cfg.TRAIN.BATCH_SIZE``."""
    cfg = CfgNode()
    for key, option in OPTIONS.items():
        *sections, name = key.split(".")
        node = cfg
        for section in sections:
            node = node.setdefault(section, CfgNode())
        node[name] = list(option.default) if isinstance(option.default, list) else option.default
    return cfg


def load_config(path: str | Path | None, overrides: Sequence[Any] = ()) -> CfgNode:
    """The defaults, changed by a recipe and then by ``[KEY, VALUE, KEY, VALUE, ...]``; frozen.

    Args:
        path: the recipe, by its path or its name, see :func:`recipe_path`; None leaves the defaults.

    Raises:
        InputError: the file does not exist or is not YAML, a key is unknown (the message names the nearest
            known one) or has no value, or a value has the wrong type or lies outside its range.
    """
    cfg = default_config()
    recipe = {} if path is None else _read_recipe(recipe_path(path))
    for key, value in _flatten(recipe):
        _set(cfg, key, value, str(path))
    if len(overrides) % 2:
        raise InputError(f"options come in pairs KEY VALUE; {overrides[-1]!r} has no partner")
    for key, value in zip(overrides[::2], overrides[1::2], strict=True):
        _set(cfg, str(key), value, "command line")
    for key, value in _flatten(cfg):
        problem = OPTIONS[key].problem(value)
        if problem is not None:
            raise InputError(f"{key}: {problem}")
    cfg.freeze()
    return cfg


def recipe_path(name: str | Path) -> Path:
    """The file of a recipe, given its path or its name in configs/: ``k400/pretrain_vit_b``.

    A path that leads to a file is taken as it is. ``.yaml`` and a leading ``configs/`` may be left out.

    Raises:
        InputError: there is no such recipe; the message names the nearest one.
    """
    path = Path(name)
    if path.is_file() or path.is_absolute():
        return path
    within = str(path).removeprefix("configs/").removesuffix(".yaml")
    shipped = RECIPES / f"{within}.yaml"
    if shipped.is_file():
        return shipped
    near = difflib.get_close_matches(within, list_recipes(), n=1)
    hint = f"did you mean {near[0]}?" if near else "`diffmae recipes` lists those that come with the package"
    raise InputError(f"{name}: no such config file; {hint}")


def list_recipes() -> dict[str, str]:
    """The recipes that come with the package: their names, and their first lines without the ``#``."""
    found = {}
    for path in sorted(RECIPES.rglob("*.yaml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        found[str(path.relative_to(RECIPES).with_suffix(""))] = first.removeprefix("#").strip()
    return found


def recipe_keys(path: str | Path) -> set[str]:
    """The keys that a recipe, or a recipe it starts from, sets.

    Raises:
        InputError: the file does not exist or is not YAML.
    """
    return {key for key, _ in _flatten(_read_recipe(recipe_path(path)))}


def recipe_of(folder: str | Path) -> Path:
    """The config.yaml of a run, given the run's folder or that of one of its checkpoints."""
    folder = Path(folder).resolve()
    return (folder.parent.parent if folder.parent.name == "checkpoints" else folder) / "config.yaml"


def load_recipe(folder: str | Path, overrides: Sequence[Any] = ()) -> CfgNode:
    """The config of a run, given the run's folder or that of one of its checkpoints.

    Args:
        overrides: options that replace the run's, ``[KEY, VALUE, ...]``.

    Raises:
        InputError: there is no config.yaml, or an option is wrong.
    """
    path = recipe_of(folder)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the folder of a run, or copy its config.yaml there")
    return load_config(path, overrides)


def _read_recipe(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such config file")
    try:
        # fvcore cannot read an empty file, which is a valid recipe: all options have their defaults.
        is_empty = yaml.safe_load(path.read_text(encoding="utf-8")) is None
        loaded = {} if is_empty else CfgNode.load_yaml_with_base(str(path))
    except (yaml.YAMLError, TypeError, AttributeError, AssertionError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML config ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: not a YAML config: expected sections, got {type(loaded).__name__}")
    return loaded


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _set(cfg: CfgNode, key: str, value: Any, source: str) -> None:
    option = OPTIONS.get(key)
    if option is None:
        near = difflib.get_close_matches(key, OPTIONS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(cfg)}"
        raise InputError(f"{source}: unknown config key {key}; {hint}")
    if str(value).lower() in option.choices:  # YAML reads `true` as a truth value
        value = str(value).lower()
    *sections, name = key.split(".")
    node = cfg
    for section in sections:
        node = node[section]
    try:
        node[name] = (
            _parse_list(value, option) if isinstance(option.default, list) else _parse(value, option.default)
        )
    except (ValueError, TypeError, OverflowError, yaml.YAMLError) as error:
        raise InputError(f"{source}: {key} takes {option.kind}, got {value!r}") from error


def _parse_list(value: Any, option: Option) -> list[Any]:
    """A list from YAML or the command line: ``[5, 3]``, ``5,3``, or one number for every entry.

    Older versions wrote lists of any length into config.yaml as strings, such as ``'1,2,2'``.
    """
    entry = option.example
    if isinstance(value, str):
        value = [part.strip() for part in value.strip().removeprefix("[").removesuffix("]").split(",")]
        value = [part for part in value if part] if option.any_length else value
        if not option.any_length and len(value) == 1:
            value = value[0]
    if not isinstance(value, (list, tuple)):
        value = [value] * (1 if option.any_length else len(option.default))
    if not option.any_length and len(value) != len(option.default):
        raise ValueError(f"takes {len(option.default)} values")
    return [_parse(item, entry) for item in value]


def _parse(value: Any, default: Any) -> Any:
    """A value from YAML or the command line in the default's type: 1 becomes a float, 1e3 an int."""
    if isinstance(default, str):
        return "" if value is None else str(value)
    if isinstance(value, str):
        value = yaml.safe_load(value)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError("takes true or false")
        return value
    if isinstance(value, bool) or value is None:
        raise ValueError("takes a number")
    if not math.isfinite(float(value)):
        raise ValueError("takes a finite number")
    if isinstance(default, float):
        return float(value)
    if float(value) != int(float(value)):
        raise ValueError("takes a whole number")
    return int(float(value))
