import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.jsonl import MAX_NESTING, BadLineError, BlockLines, TextParser, is_utf8, parse_blocks
from hir_transforms.documents.records import SourceFile

FILE = SourceFile(3, "/data/a.jsonl", "a.jsonl", 1, 0.0)
PARSER = TextParser("text")
FIELDS = st.sampled_from(["text", "täxt", "日本", "a b", "text2", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | FIELDS, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.dictionaries(FIELDS, st.text() | VALUES, max_size=4) | VALUES
LINES = st.builds(
    lambda record, ascii_only, separators: json.dumps(record, ensure_ascii=ascii_only, separators=separators).encode(),
    RECORDS,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", "\t:\r")]),
)
TOKENS = [
    "\\ud800",
    "\\udc00",
    "\\u0074",
    "\\n",
    "\\x",
    "true",
    "null",
    "NaN",
    "Infinity",
    "text",
    "\x01",
    "\x7f",
    "\ufeff",
]
PIECES = st.sampled_from([*'"\\{}[],:01-.e+', *TOKENS]).map(str.encode) | st.binary(min_size=1, max_size=2)
MUTATIONS = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 3), PIECES), max_size=4)


def mutated(line, mutations):
    for position, removed, inserted in mutations:
        start = position % (len(line) + 1)
        line = line[:start] + inserted + line[start + removed :]
    return line


def text_by_json(line, field):
    """The text that Python's `json` finds in a line, or None where there is none."""
    try:
        text = json.loads(line.decode("utf-8-sig"))[field]
        return text if text.encode() is not None else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def text_by_parser(line, field):
    if not is_utf8(line):
        return None
    try:
        return TextParser(field).parse(line)
    except BadLineError:
        return None


FIELD_LISTS = st.sampled_from(["a.b", "a", "b", "a.b.c", "a..b", ".", "a,b", "a.b, b", "a,a.b", "b,a,a.b.c"])
NESTED = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "", "a.b", "a.b.c", "b.c"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def naive_text(record, text_field):
    """The text that a record has by the rules of `--text_field`, or None."""
    texts = []
    for name in text_field.split(","):
        name = name.strip()
        value = record
        for key in [name] if isinstance(record, dict) and name in record else name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        texts.append(value)
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else None


@settings(max_examples=500)
@given(NESTED, FIELD_LISTS)
@example({"a": {"b": "x"}, "a.b": "y"}, "a.b")
@example({"a": {"b": "x"}, "a.b": ""}, "a.b")
@example({"a": {"b": "x"}, "a.b": None}, "a.b")
@example({"a": "x", "a.b": "y"}, "a,a.b")
@example({"a": ["x"], "a.b": "y"}, "a.b")
def test_nested_and_joined_fields_are_those_of_a_naive_reader(record, text_field):
    line = json.dumps(record).encode()
    expected = naive_text(record, text_field)
    assert text_by_parser(line, text_field) == expected
    parser = TextParser(text_field)
    at_once = parser.parse_all(line, 1)
    assert at_once in ([expected], None)


def test_fields_as_corpora_have_them_are_parsed_at_once():
    lines = b'{"title":"t","doc":{"content":"a","x":1}}\n{"doc":{"content":"b"},"title":""}'
    for text_field, texts in {
        "doc.content": ["a", "b"],
        "title,doc.content": ["t\na", "\nb"],
        "doc.content, title": ["a\nt", "b\n"],
    }.items():
        assert TextParser(text_field).parse_all(lines, 2) == texts


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"doc":{"content":"a"},"doc":{},"title":"a"}', "no field 'doc.content'"),
        (b'{"doc":"content","title":"a"}', "no field 'doc.content'"),
        (b'{"doc":null,"title":"a"}', "no field 'doc.content'"),
        (b'{"doc":{"content":"a"}}', "no field 'title'"),
        (b'{"doc":{"content":"a"},"title":null}', "field 'title' is not a string"),
        (b'{"doc":{"content":["a"]},"title":"a"}', "field 'doc.content' is not a string"),
        (b'{"doc":{"content":"a"},"doc.content":1,"title":"a"}', "field 'doc.content' is not a string"),
        (b'{"doc":{"content":"\\ud800"},"title":"a"}', "field 'doc.content' has a lone surrogate"),
    ],
)
def test_reason_of_a_reject_by_nested_and_joined_fields(line, expected):
    parser = TextParser("title,doc.content")
    _, (reject,) = parse_blocks(parser, [BlockLines(FILE, 0, 0, line)], max_document_bytes=1000)
    assert reject.reason == expected


def parse(data, base=0, max_document_bytes=10_000):
    (batch,), rejects = parse_blocks(PARSER, [BlockLines(FILE, 5, base, data)], max_document_bytes=max_document_bytes)
    return batch, rejects


def reason(line):
    batch, (reject,) = parse(line)
    assert batch.texts == []
    return reject.reason


@settings(max_examples=300)
@given(LINES, FIELDS)
def test_json_is_read_as_python_reads_it(line, field):
    assert text_by_parser(line, field) == text_by_json(line, field)


@settings(max_examples=600)
@given(LINES, MUTATIONS, st.sampled_from(["text", "täxt"]))
def test_broken_json_is_judged_as_python_judges_it(line, mutations, field):
    line = mutated(line, mutations)
    assert text_by_parser(line, field) == text_by_json(line, field)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"text":"a"}', "a"),
        (b'\xef\xbb\xbf{"text":"a"}', "a"),
        (b' {"text":"a"}\t\r', "a"),
        (b'{"text":""}', ""),
        (b'{"text":"\\u0000\\ud83d\\ude00"}', "\0😀"),
        (b'{"\\u0074ext":"a"}', "a"),
        (b'{"text":"a","x":NaN,"y":-Infinity}', "a"),
        (b'{"text":"a","x":"\\ud800"}', "a"),
        (b'{"text":"a","\\udc00":1}', "a"),
        (b'{"text":"a","text":"b"}', "b"),
        (b'{"text":1,"text":"a"}', "a"),
        (b'{"text":"a","x":{"text":"b"}}', "a"),
        (b'{"text":"a","x":1e999}', "a"),
        (b'{"text":"a","x":' + b"[" * 498 + b"NaN" + b"]" * 498 + b"}", "a"),
    ],
)
def test_accepted(line, text):
    assert PARSER.parse(line) == text == text_by_json(line, "text")


@pytest.mark.parametrize("digits", [b"1" * 4_301, b"-" + b"9" * 100_000])
@pytest.mark.parametrize("line", [b'{"x":%s,"text":"a"}', b'{"x":[%s,NaN],"text":"a"}', b'{"text":"a","\\udc00":%s}'])
def test_integers_of_any_number_of_digits_are_read(line, digits):
    assert parse(b'{"text":"b"}\n' + line % digits, max_document_bytes=200_000)[0].texts == ["b", "a"]


def nested(depth):
    """An array in an object in an array and so on."""
    levels = [((b"[", b"]"), (b'{"[":', b"}"))[level % 2] for level in range(depth)]
    return b"".join(opening for opening, _ in levels) + b"1" + b"".join(closing for _, closing in reversed(levels))


def at_depth(calls, function, *arguments):
    return at_depth(calls - 1, function, *arguments) if calls else function(*arguments)


@pytest.mark.parametrize("calls", [0, 200, 450, 700, 900])
@pytest.mark.parametrize(
    ("line", "levels"),
    [(b'{"x":%s,"text":"a"}', 1), (b'{"text":"a","x":[{},[],%s]}', 2), (b'{"x":[NaN,%s],"text":"a"}', 2)],
    ids=["msgspec", "an array", "json"],
)
def test_the_limit_of_nesting_is_the_same_at_any_depth_of_the_stack(line, levels, calls):
    good = json.dumps({"text": '[{"' * MAX_NESTING}).encode()
    for depth, result in {
        10: "a",
        MAX_NESTING: "a",
        MAX_NESTING + 1: "nested deeper than 900 levels",
        2 * MAX_NESTING: "nested deeper than 900 levels",
        100_000: "nested deeper than 900 levels",
    }.items():
        deep = line % nested(depth - levels)
        for data in (deep, good + b"\n" + deep, deep + b"\n\xff"):
            batch, rejects = at_depth(calls, parse, data, 0, 10_000_000)
            found = [*batch.texts, *(reject.reason for reject in rejects)]
            assert result in found
            assert len(found) == len(data.splitlines())


def test_brackets_in_strings_are_no_nesting():
    for text in ("[" * 10_000, '"[' * 10_000, "\\[" * 10_000, '\\"{' * 10_000, "]" * 10_000 + "{" * 10_000):
        for other in ("1", "NaN", "[" * 800 + "]" * 800):
            line = json.dumps({"x": text, "text": text})[:-1] + f',"y":{other}}}'
            assert parse(line.encode(), max_document_bytes=10**6)[0].texts == [text]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"text":"a"', "not JSON"),
        (b'{"text":"a"}{"text":"b"}', "not JSON"),
        (b'{"text":"a","x":01}', "not JSON"),
        (b'{"text":"a\x01"}', "not JSON"),
        (b"text", "not JSON"),
        (b"[" * 900, "not JSON"),
        (b"[" * 9_000, "nested deeper than 900 levels"),
        (b"\xef\xbb\xbf", "not JSON"),
        (b'["text"]', "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"NaN", "not a JSON object"),
        (b'{"Text":"a"}', "no field 'text'"),
        (b"{}", "no field 'text'"),
        (b'{"text":null}', "field 'text' is not a string"),
        (b'{"text":["a"]}', "field 'text' is not a string"),
        (b'{"text":' + b"1" * 5_000 + b"}", "field 'text' is not a string"),
        (b'{"text":"a","text":1}', "field 'text' is not a string"),
        (b'{"text":"\\udc00"}', "field 'text' has a lone surrogate"),
        (b'{"text":"a","x":"\xff"}', "invalid UTF-8"),
        (b'{"text":"\xed\xa0\x80"}', "invalid UTF-8"),
        (b'{"text":"a"}\xc3', "invalid UTF-8"),
        (b'{"text":"' + b"a" * 10_000 + b'"}', "longer than 10000 bytes"),
    ],
)
def test_reason_of_a_reject(line, expected):
    assert reason(line) == expected


@given(st.binary())
def test_is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        assert not is_utf8(data)
    else:
        assert is_utf8(data)


@given(st.lists(st.builds(mutated, LINES, MUTATIONS) | st.sampled_from([b"", b" \t\r"])), st.integers(0, 2**40))
@example([], 0)
def test_every_line_that_is_not_blank_is_a_document_or_a_reject(lines, base):
    data = b"\n".join(lines)
    lines = data.split(b"\n")
    offsets = base + np.cumsum([0, *(len(line) + 1 for line in lines)])
    places = [(offset, line) for offset, line in zip(offsets.tolist(), lines, strict=False) if line.strip()]
    documents = [
        (offset, len(line), text) for offset, line in places if (text := text_by_json(line, "text")) is not None
    ]

    batch, rejects = parse(data, base)

    assert (batch.file, batch.block) == (FILE, 5)
    assert list(zip(batch.offsets.tolist(), batch.lengths.tolist(), batch.texts, strict=True)) == documents
    assert batch.offsets.dtype == batch.lengths.dtype == np.int64
    rejected = {offset for offset, _ in places} - {offset for offset, _, _ in documents}
    assert [reject.offset for reject in rejects] == sorted(rejected)
    assert {reject.file for reject in rejects} <= {FILE.path}


GOOD_LINES = st.text().map(lambda text: json.dumps({"text": text}).encode())
# Lines that may look good together, but not each by itself.
PARTS_OF_LINES = st.sampled_from(
    [
        b'{"text":"a"}{"text":"b"}',
        b'{"text":',
        b'"a"}',
        b'{"x":[{}',
        b'{}],"text":"a"}',
        b'{"text":"a"} {}',
        b"{",
        b"}",
    ]
)


@settings(max_examples=300)
@given(st.lists(st.lists(GOOD_LINES | GOOD_LINES | PARTS_OF_LINES | st.sampled_from([b"", b" ", b"{\xff}"]))))
def test_several_blocks_are_parsed_as_each_by_itself(contents):
    files = [SourceFile(index, f"/data/{index}", str(index), 1, 0.0) for index in range(len(contents))]
    blocks = [
        BlockLines(file, 7 * file.index, 1000 * file.index, b"\n".join(lines))
        for file, lines in zip(files, contents, strict=True)
    ]
    batches, rejects = parse_blocks(PARSER, blocks, max_document_bytes=30)
    alone = [parse_blocks(PARSER, [block], max_document_bytes=30) for block in blocks]
    assert rejects == [reject for _, rejected in alone for reject in rejected]
    for batch, block, ((expected,), _) in zip(batches, blocks, alone, strict=True):
        assert (batch.file, batch.block) == (expected.file, expected.block) == (block.file, block.number)
        assert batch.texts == expected.texts
        np.testing.assert_array_equal([batch.offsets, batch.lengths], [expected.offsets, expected.lengths])


def test_documents_get_their_ids_whatever_is_rejected_between_them():
    contents = [
        b'{"text":"a","id":"x"}\n{"text":1,"id":"y"}\n\n{"text":"b","id":7}',
        b"",
        b'{"text":"c"}\n{"text":"d","id":"\xc3\xbc"}',
    ]
    blocks = [BlockLines(FILE, number, 0, content) for number, content in enumerate(contents)]
    for some in (blocks, blocks[1:]):
        batches, _ = parse_blocks(PARSER, some, max_document_bytes=99, id_parser=IdParser("id"))
        assert [batch.ids for batch in batches] == [["x", "7"], [], [None, "ü"]][-len(some) :]
    assert parse_blocks(PARSER, blocks, max_document_bytes=99)[0][0].ids is None


@settings(max_examples=300)
@given(st.lists(PARTS_OF_LINES | GOOD_LINES | GOOD_LINES, max_size=6))
def test_lines_are_documents_by_themselves(lines):
    batch, rejects = parse(b"\n".join(lines))
    assert batch.texts == [text for line in lines if (text := text_by_json(line, "text")) is not None]
    assert len(batch.texts) + len(rejects) == len(lines)


def test_a_line_of_the_largest_length_is_kept():
    line = b'{"text":"a"}'
    assert parse(line, max_document_bytes=len(line))[0].texts == ["a"]
    assert parse(line + b"\n", max_document_bytes=len(line))[0].texts == ["a"]
    assert parse(line, max_document_bytes=len(line) - 1)[0].texts == []


def test_a_long_line_cut_within_a_character_does_not_spoil_its_block():
    batch, rejects = parse(b'{"text":"\xc3\xa9"}\n' + b"x" * 20 + b"\xc3", max_document_bytes=20)
    assert batch.texts == ["é"]
    assert [reject.reason for reject in rejects] == ["longer than 20 bytes"]


def test_invalid_utf8_spoils_its_line_only():
    batch, rejects = parse(b'{"text":"\xc3\xa9"}\n{"text":"\xff"}\n{"text":"b"}')
    assert batch.texts == ["é", "b"]
    assert [(reject.offset, reject.reason) for reject in rejects] == [(14, "invalid UTF-8")]


@pytest.mark.parametrize(
    ("line", "excerpt"),
    [
        (b"short", "short"),
        (b"x" * 300, "x" * 200),
        ("é".encode() * 300, "é" * 200),
        ("😀".encode() * 300, "😀" * 200),
        (b"\xff" + b"y" * 300, "\ufffd" + "y" * 199),
    ],
)
def test_a_reject_shows_the_first_200_characters(line, excerpt):
    _, (reject,) = parse(line)
    assert reject.excerpt == excerpt
