import json
from dataclasses import dataclass, field
from typing import Any

from hir_transforms.common.fingerprints import NO_EFFECT, describe, digest, to_json


@dataclass(frozen=True)
class Inner:
    size: int
    place: str = field(default="", metadata=NO_EFFECT)


@dataclass(frozen=True)
class Outer:
    inner: Any
    several: tuple[Inner, ...]
    none: None = None


def test_all_fields_count_but_those_without_effect():
    settings = Outer(Inner(1, "here"), (Inner(2), Inner(3, "there")))
    assert describe(settings) == {"inner": {"size": 1}, "several": [{"size": 2}, {"size": 3}], "none": None}
    assert describe({"one": settings.inner}) == {"one": {"size": 1}}


@dataclass(frozen=True)
class Versioned:
    name: str

    def dependencies(self):
        return {"name": self.name, "version": Inner(3)}


def test_settings_may_tell_by_themselves_what_counts():
    assert describe(Outer(Versioned("fast"), ()))["inner"] == {"name": "fast", "version": {"size": 3}}


def test_a_digest_is_that_of_the_content():
    assert digest({"b": 1, "a": [2.5]}) == digest({"a": [2.5], "b": 1})
    assert len({digest(content) for content in ({}, None, {"a": 1}, {"a": 1.0}, {"a": [1, 2]}, {"a": [2, 1]})}) == 6


def test_json_is_the_same_for_the_same_content():
    assert to_json({"b": 1, "a": "ü"}) == to_json({"a": "ü", "b": 1}) == '{\n  "a": "ü",\n  "b": 1\n}\n'.encode()


def test_manifests_are_indented_as_by_the_json_module():
    content = {
        **{"nested": {"b": [1, None], "a": True}},
        "none": [],
        "empty": {},
        "text": '"\\\n\u2028',
        "numbers": [0.1, -0.5, 2**70],
        "x": [[1, {}]],
    }
    assert to_json(content) == (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
