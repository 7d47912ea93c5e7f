"""Reading WARC and WET files: every document and every damaged place exactly once, whatever the packing, the slices and the batches."""

from __future__ import annotations

import gzip
import os
import random
from datetime import UTC, datetime
from itertools import pairwise

import brotli
import pytest
import zstandard
from corpora import config_of, finished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import OPTIONS, outcome, read_path
from warcs import (
    PACKINGS,
    PAGE,
    chunked,
    deflated,
    gz,
    http,
    info,
    others,
    page,
    plain,
    record,
    wet,
    zst,
)

from pipelines import formats_warc, formats_warc_http, formats_warc_members, formats_warc_records
from pipelines.errors import InputChanged, InputError
from pipelines.formats import ReadOptions, Slice, format_of, read
from pipelines.formats_warc_charset import utf8_of
from pipelines.formats_warc_http import answer_of
from pipelines.inventory import take_inventory
from pipelines.storage import Sources, open_store

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def placed(tmp_path, data, name="a.warc"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read_records(tmp_path, *parts, name="a.warc.gz", pack=None, **settings):
    """What is read of a file with these records."""
    return read_path(placed(tmp_path, (pack or PACKINGS[name])(parts), name), **settings)[1]


def body_of_one(tmp_path, body, **fields):
    """The document that one response becomes."""
    [document] = read_records(tmp_path, record("response", http(body, **fields))).documents.values()
    return document


class TestRecords:
    @pytest.mark.parametrize("name", PACKINGS)
    def test_web_pages_are_documents_and_nothing_else_is(self, tmp_path, name):
        """HTML that was found is a row; requests, revisits, errors, redirects and images are none, however the file is packed."""
        parts = [info(), page(1), *others(2), page(3), *others(4), page(5), *others(6)]
        found = read_records(tmp_path, *parts, name=name)
        assert found.texts == [PAGE.format(number) for number in (1, 3, 5)]
        assert not found.damaged

    def test_columns_tell_what_is_known_about_a_page(self, tmp_path):
        """Id without its URN, address, time, type, status, charset, languages, and whether the crawler cut it."""
        cut = record(
            "response",
            http("grüß".encode("latin-1"), content_type="Text/HTML; Charset=ISO-8859-1"),
            7,
            WARC_Truncated="length",
            WARC_Date="2024-05-18T01:02:03.123456789Z",
            WARC_Target_URI="<http://a.example/ü?q=1>",
        )
        found = read_records(tmp_path, cut, wet(8, "Text."))
        first, second = found.documents.values()
        assert first == {
            "id": "00000007-0000-4000-8000-000000000000",
            "text": "grüß",
            "url": "http://a.example/ü?q=1",
            "date": datetime(2024, 5, 18, 1, 2, 3, 123456, UTC),
            "record_type": "response",
            "content_type": "text/html",
            "http_status": 200,
            "charset": "windows-1252",
            "content_language": None,
            "truncated": "length",
        }
        assert {name: second[name] for name in ("text", "record_type", "content_type", "http_status", "content_language")} == {
            "text": "Text.",
            "record_type": "conversion",
            "content_type": "text/plain",
            "http_status": None,
            "content_language": "eng,deu",
        }

    def test_what_a_record_does_not_tell_is_null(self, tmp_path):
        """Neither id nor address nor a date that could be one: the page is still a document."""
        bare = record("response", http(b"<p>x"), WARC_Record_ID=None, WARC_Target_URI=None, WARC_Date="2024-13-45T99:00:00Z")
        [document] = read_records(tmp_path, bare).documents.values()
        assert (document["id"], document["url"], document["date"], document["text"]) == (None, None, None, "<p>x")

    @pytest.mark.parametrize(
        ("identified", "served", "body", "is_document"),
        [
            ("text/html", "text/plain", b"x", True),
            ("application/xhtml+xml", None, b"x", True),
            ("image/png", "text/html", b"<html>", False),
            (None, "application/xhtml+xml; charset=x", b"x", True),
            (None, "text/html, text/html", b"x", True),
            (None, "text/plain", b"<html>", False),
            (None, None, b"\n <!DOCTYPE html><p>", True),
            (None, None, b"{}", False),
        ],
    )
    def test_the_type_is_what_the_crawler_found_else_what_the_server_said_else_what_it_looks_like(
        self, tmp_path, identified, served, body, is_document
    ):
        """The same order for every page."""
        parts = [page(1), record("response", http(body, content_type=served), 2, WARC_Identified_Payload_Type=identified)]
        assert len(read_records(tmp_path, *parts).documents) == 1 + is_document

    def test_the_text_column_may_have_any_name(self, tmp_path):
        """One that is a column of records replaces it."""
        path = placed(tmp_path, gz([page(1)]), "a.warc.gz")
        for name in ("html", "url", "id"):
            options = ReadOptions(None, name, None, ())
            inventory, found = read_path(path, options)
            [document] = found.documents.values()
            assert document[name] == PAGE.format(1)
            assert inventory.schema.names.count(name) == 1

    def test_sloppy_writers_are_read(self, tmp_path):
        """Bare line feeds, continued and repeated fields, version 1.1, one empty line or none behind a record."""
        odd = (
            b"WARC/1.1 \nwarc-type: conversion\nContent-Type: text/plain\nX-Long: a\n b: c\nContent-Length: 3\nContent-Length: 99\n\nabc\n"
        )
        parts = [odd, record("conversion", b"def", end=b""), record("conversion", b"ghi", end=b"\r\n" * 9), wet(1, "jkl")]
        for name in PACKINGS:
            assert read_records(tmp_path, *parts, name=name).texts == ["abc", "def", "ghi", "jkl"]

    def test_records_may_be_empty(self, tmp_path):
        """A page without a byte is an empty document."""
        for name in PACKINGS:
            assert read_records(tmp_path, wet(1, ""), record("response", http(b"")), wet(2, "x"), name=name).texts == ["", "", "x"]

    def test_warc_and_other_formats_share_an_inventory(self, tmp_path):
        """Columns of both, nulls where one has none."""
        placed(tmp_path, gz([page(1)]), "a.warc.gz")
        placed(tmp_path, b'{"id": "j", "text": "line", "n": 1}\n', "b.jsonl")
        _, found = read_path(tmp_path)
        assert found.texts == [PAGE.format(1), "line"]
        assert [document["http_status"] for document in found.documents.values()] == [200, None]
        assert [document["n"] for document in found.documents.values()] == [None, 1]

    def test_a_column_that_conflicts_with_another_file_is_damage(self, tmp_path):
        """The first file's type counts, as it does in other formats."""
        placed(tmp_path, b'{"id": "j", "text": "line", "http_status": "fine"}\n', "a.jsonl")
        placed(tmp_path, gz([page(1), page(2)]), "b.warc.gz")
        _, found = read_path(tmp_path)
        assert {key: value[0] for key, value in found.damaged.items()} == {(1, 0): "schema_mismatch", (1, 1): "schema_mismatch"}

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("x.warc", "warc"),
            ("CC-MAIN-2024.warc.gz", "warc.gz"),
            ("x.warc.wet.gz", "warc.gz"),
            ("x.WARC.ZST", "warc.zst"),
            ("x.wet", "warc"),
        ],
    )
    def test_extensions(self, name, kind):
        """WARC and WET are told by their names."""
        assert format_of(f"s3://b/{name}", None) == kind
        assert format_of("s3://b/x.bin.gz", "warc") == "warc.gz"


class TestPayload:
    BODY = (PAGE.format("é") * 40).encode()

    @pytest.mark.parametrize(
        ("coding", "encode"),
        [
            ("gzip", gzip.compress),
            ("x-gzip", lambda body: gzip.compress(body[:99]) + gzip.compress(body[99:]) + b"\0junk"),
            ("deflate", lambda body: deflated(body, 15)),
            ("deflate", lambda body: deflated(body, -15)),
            ("br", brotli.compress),
            ("zstd", zstandard.ZstdCompressor().compress),
            ("identity", bytes),
            ("gzip, br", lambda body: brotli.compress(gzip.compress(body))),
        ],
    )
    @pytest.mark.parametrize("is_chunked", [True, False])
    @pytest.mark.parametrize("is_undone", [True, False])
    def test_encodings_of_the_way_are_undone(self, tmp_path, coding, encode, is_chunked, is_undone):
        """Content and transfer codings, also if the archive has undone them and kept the header fields."""
        sent = self.BODY if is_undone else encode(self.BODY)
        fields = {"Content_Encoding": coding} | ({"Transfer_Encoding": "chunked"} if is_chunked else {})
        body = chunked(sent) if is_chunked and not is_undone else sent
        assert body_of_one(tmp_path, body, **fields)["text"].encode() == self.BODY

    @pytest.mark.parametrize(
        ("body", "fields", "error"),
        [
            (gzip.compress(BODY)[:-30], {"Content_Encoding": "gzip"}, "truncated_payload"),
            (gzip.compress(BODY)[:-8] + b"\0" * 8, {"Content_Encoding": "gzip"}, "corrupt_payload"),
            (brotli.compress(BODY)[:-9], {"Content_Encoding": "br"}, "truncated_payload"),
            (deflated(BODY, 15)[:-9], {"Content_Encoding": "deflate"}, "truncated_payload"),
            (b"\xff" * 99, {"Content_Encoding": "br"}, "corrupt_payload"),
            (zstandard.ZstdCompressor().compress(BODY)[:-9], {"Content_Encoding": "zstd"}, "truncated_payload"),
            (chunked(BODY)[:-300], {"Transfer_Encoding": "chunked"}, "truncated_payload"),
            (chunked(BODY).replace(b"64;", b"zz;", 2)[0:], {"Transfer_Encoding": "chunked"}, None),
            (b"5\r\nhellothis is no chunk", {"Transfer_Encoding": "chunked"}, "corrupt_payload"),
            (b"x", {"Content_Encoding": "compress"}, "unsupported_content_encoding"),
        ],
    )
    def test_a_page_that_cannot_be_decoded_is_damage_with_its_place(self, tmp_path, body, fields, error):
        """It alone, with its id, the byte where its record begins, and what is wrong; cut as the crawler says, it is a document."""
        bad = record("response", http(body, **fields), 2)
        found = read_records(tmp_path, page(1), bad, page(3))
        if error is None:
            assert not found.damaged
            return
        assert found.errors == {1: error}
        [(_, message, name)] = found.damaged.values()
        assert name == "00000002-0000-4000-8000-000000000000"
        assert f"the record at byte {len(gz([page(1)]))}" in message
        if error == "truncated_payload":
            cut = record("response", http(body, **fields), 2, WARC_Truncated="time")
            text = read_records(tmp_path, cut).texts[0]
            assert self.BODY.startswith(text.encode().removesuffix("\ufffd".encode()))

    @pytest.mark.parametrize(
        "encode", [gzip.compress, brotli.compress, zstandard.ZstdCompressor().compress, lambda body: deflated(body, 15)]
    )
    def test_a_page_that_unfolds_without_end_is_damage(self, tmp_path, encode, monkeypatch):
        """A bomb is stopped at the largest size of a page."""
        monkeypatch.setattr(formats_warc_http, "MAX_BODY_BYTES", 1 << 22)
        kind = {gzip.compress: "gzip", brotli.compress: "br"}.get(encode, "deflate" if encode(b"").startswith(b"x") else "zstd")
        bomb = record("response", http(encode(b"\0" * (1 << 24)), Content_Encoding=kind))
        assert read_records(tmp_path, bomb, page(1)).errors == {0: "page_too_large"}

    @pytest.mark.parametrize("block", [b"", b"HTP/1.1 200 OK\r\n\r\nx", b"HTTP/1.1 abc\r\n\r\n", b"<html>"])
    def test_a_response_without_a_status_is_damage(self, tmp_path, block):
        """Nobody can say whether it was a page."""
        assert read_records(tmp_path, page(1), record("response", block), page(3)).errors == {1: "malformed_http"}

    def test_a_segment_of_a_record_is_damage(self, tmp_path):
        """Its rest is elsewhere."""
        assert read_records(tmp_path, record("response", http(b"<p>"), WARC_Segment_Number="1")).errors == {0: "segmented_record"}

    def test_wet_text_that_is_not_utf8_is_damage(self, tmp_path):
        """Conversions are UTF-8 or nothing."""
        assert read_records(tmp_path, wet(1, "ok"), record("conversion", b"\xff\xfe")).errors == {1: "invalid_utf8"}

    @given(
        message=st.binary(max_size=60)
        | st.builds(lambda a, b: b"HTTP/1.1 200 OK\r\nA: b\r\n" + a + b"\r\n\r\n" + b, st.binary(), st.binary())
    )
    def test_any_bytes_are_an_answer_or_none(self, message):
        """The HTTP reader raises on nothing, and the body is within the message."""
        answer = answer_of(message)
        assert answer is None or 0 < answer.body_at <= len(message)


RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 9
JAPANESE = "いろはにほへとちりぬるを。わかよたれそつねならむ。漢字とカタカナ。" * 9
CHINESE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。" * 9


class TestCharset:
    @pytest.mark.parametrize(
        ("text", "codec", "label"),
        [
            (RUSSIAN, "cp1251", "windows-1251"),
            (RUSSIAN, "koi8-r", "koi8-r"),
            (JAPANESE, "shift_jis", "shift_jis"),
            (JAPANESE, "euc_jp", "euc-jp"),
            (CHINESE, "gb18030", "gb18030"),
            ("naïve café – “quotes” " * 9, "cp1252", "windows-1252"),
        ],
    )
    def test_a_page_is_read_in_its_charset_wherever_that_is_said(self, tmp_path, text, codec, label):
        """HTTP header, meta element in both spellings, XML declaration; without any, statistics find it."""
        meta = f'<meta charset="{codec}"><p>{text}'
        equiv = f"<META http-equiv='Content-Type' content='text/html; charset={codec}'><p>{text}"
        xml = f'<?xml version="1.0" encoding="{codec}"?><html><p>{text}'
        for body, content_type in ((text, f'text/html; charset="{codec}"'), (meta, "text/html"), (equiv, "text/html"), (xml, "text/html")):
            document = body_of_one(tmp_path, body.encode(codec), content_type=content_type)
            assert (document["text"], document["charset"]) == (body, label)
        if codec != "cp1252":  # which the statistics take for a Latin alphabet of another country, with the same letters
            assert body_of_one(tmp_path, f"<p>{text}".encode(codec))["text"] == f"<p>{text}"

    @pytest.mark.parametrize(
        ("label", "data", "text"),
        [
            ("iso-8859-1", b"\x93x\x94 \x80", "“x” €"),
            ("ascii", b"\xe9", "é"),
            ("gb2312", "镕€".encode("gb18030"), "镕€"),
            ("x-sjis", "①".encode("cp932"), "①"),
            ("ks_c_5601-1987", "똠".encode("cp949"), "똠"),
            ("big5", "香港".encode("big5"), "香港"),
            ("iso-2022-jp", "漢字".encode("iso2022_jp"), "漢字"),
            ("utf-16le", "\0a é".encode("utf-16-le"), "\0a é"),
        ],
    )
    def test_labels_mean_what_they_mean_on_the_web(self, label, data, text):
        """The encoding standard of browsers, not the registry's: latin-1 is windows-1252."""
        assert utf8_of(data, label)[0].decode() == text

    def test_bytes_that_are_utf8_are_read_so_whatever_is_declared(self):
        """A wrong header does not make mojibake; a page cut in a character is still UTF-8."""
        assert utf8_of("<meta charset=latin1>naïve ☃".encode(), "koi8-r") == ("<meta charset=latin1>naïve ☃".encode(), "utf-8")
        assert utf8_of("aé☃".encode()[:-1], "latin-1") == ("aé\ufffd".encode(), "utf-8")

    def test_a_byte_order_mark_wins_and_goes(self):
        """In each of its three forms."""
        for codec in ("utf-8-sig", "utf-16"):
            assert utf8_of("é☃".encode(codec), "latin-1")[0] == "é☃".encode()
        assert utf8_of(b"\xfe\xff\x00x", None) == (b"x", "utf-16be")

    def test_a_declaration_in_a_comment_or_in_the_text_does_not_count(self):
        """What browsers skip is skipped."""
        page = f"<!-- <meta charset=koi8-r> --><meta name=a content=b><meta charset=cp1251>{RUSSIAN}"
        assert utf8_of(page.encode("cp1251"), None)[1] == "windows-1251"

    def test_bytes_without_meaning_become_replacement_characters(self):
        """A page of declared UTF-8 with bad bytes is kept, as browsers show it."""
        assert utf8_of(b"a\xffb\xc3", "utf-8") == ("a\ufffdb\ufffd".encode(), "utf-8")

    @given(
        data=st.binary(max_size=300),
        label=st.sampled_from([None, "utf-8", "gbk", "shift_jis", "utf-16", "iso-2022-jp", "?", "euc-kr", "big5"]),
    )
    def test_any_bytes_become_utf8(self, data, label):
        """Whatever they are, and whatever is declared."""
        utf8_of(data, label)[0].decode("utf-8")


GARBAGE = b"\0\x01this is no record\r\n" * 20


class TestDamage:
    @pytest.mark.parametrize("name", [name for name in PACKINGS if name != "blocks.warc.gz"])
    @pytest.mark.parametrize(
        ("bad", "error"),
        [
            (GARBAGE, "malformed_record"),
            (b"WARC/1.0\r\nWARC-Type: response\r\n\r\nno length\r\n\r\n", "malformed_record"),
            (b"WARC/1.0\r\nContent-Length: 3\r\n\r\nabc\r\n\r\n", "malformed_record"),
            (record("conversion", b"x" * 500, 9, length=-5), "malformed_record"),
            (b"WARC/1.0\r\nX-No-End: x\r\n", "malformed_record"),
            (record("conversion", b"x" * 500, 9, length=100), "wrong_length"),
            (record("conversion", b"x" * 500, 9, length=900), "wrong_length"),
            (record("request", b"x" * 500, 9, length=900), "wrong_length"),
            (record("conversion", b"x" * 500, 9, length=10**12), "wrong_length"),
            (record("conversion", b"x" * 500, 9, length=10**18 - 1), "wrong_length"),
        ],
    )
    def test_a_record_that_is_none_costs_itself_alone(self, tmp_path, name, bad, error):
        """Garbage, missing fields and lying lengths are one damaged row; every record before and after it is read."""
        parts = [page(1), page(2), bad, page(4), *others(5), page(6)]
        found = read_records(tmp_path, *parts, name=name)
        assert found.texts == [PAGE.format(number) for number in (1, 2, 4, 6)]
        assert found.errors == {2: error}
        [(_, message, _)] = found.damaged.values()
        assert "byte " in message

    def test_a_long_record_that_lies_is_damage_too(self, tmp_path, monkeypatch):
        """Records too long for memory are skipped as they stream; what follows is found."""
        monkeypatch.setattr(formats_warc_records, "MAX_RECORD_BYTES", 4000)
        long = [
            record("resource", b"y" * 9000, Content_Type="image/png"),
            record("conversion", b"x" * 5000, 3),
            record("response", http(b"z" * 5000)),
        ]
        lies = record("conversion", b"x" * 9000, 9, length=5000)
        for name in PACKINGS:
            found = read_records(tmp_path, page(1), *long, lies, page(4), name=name)
            assert found.texts == [PAGE.format(1), PAGE.format(4)]
            assert [found.errors[row] for row in (1, 2)] == ["record_too_large", "record_too_large"]
            assert found.errors[3] == "wrong_length"
            assert len(found.errors) == 3

    @pytest.mark.parametrize("pack", [gz, zst])
    @pytest.mark.parametrize("where", ["start", "middle", "checksum"])
    def test_a_broken_member_costs_itself_alone(self, tmp_path, pack, where):
        """A member whose codes or checksum are wrong is one damaged row, and reading goes on at the next."""
        noisy = [page(number, random.Random(number).randbytes(9000).hex()) for number in range(5)]
        parts = [pack([part]) for part in noisy]
        if pack is zst:
            parts = [zstandard.ZstdCompressor(write_checksum=True).compress(part) for part in noisy]
        at = {"start": 12, "middle": len(parts[2]) // 2, "checksum": len(parts[2]) - (6 if pack is gz else 2)}[where]
        bad = bytearray(parts[2])
        bad[at : at + 2] = bytes(255 - octet for octet in bad[at : at + 2])
        name = "a.warc.gz" if pack is gz else "a.warc.zst"
        _, found = read_path(placed(tmp_path, b"".join([*parts[:2], bytes(bad), *parts[3:]]), name))
        assert found.errors == {2: "corrupt_member"}
        assert len(found.texts) == 4
        assert f"begins at byte {len(parts[0]) + len(parts[1])} " in found.damaged[0, 2][1]

    def test_damage_over_several_members_is_one_row(self, tmp_path):
        """A stretch of the file overwritten with noise: the members that it touches are lost, told once, and the others are read."""
        parts = [gz([page(number, random.Random(number).randbytes(2000).hex())]) for number in range(20)]
        sizes = [len(part) for part in parts]
        data = bytearray(b"".join(parts))
        start = sum(sizes[:7]) + 50
        data[start : start + 3 * sizes[7]] = random.Random(1).randbytes(3 * sizes[7])
        _, found = read_path(placed(tmp_path, bytes(data), "a.warc.gz"))
        assert set(found.errors.values()) == {"corrupt_member"}
        assert len(found.errors) == 1
        assert len(found.texts) == 16

    @pytest.mark.parametrize("name", PACKINGS)
    def test_a_file_cut_anywhere_gives_the_records_before_and_one_damage(self, tmp_path, name):
        """Never a half page as a document, never a silent loss."""
        data = PACKINGS[name]([page(number) for number in range(6)])
        refused: list[int] = []
        for stop in range(40, len(data) - 1, 97):
            path = placed(tmp_path, data[:stop], name)
            try:
                _, found = read_path(path)
            except InputError:
                refused.append(stop)  # not even the first record's head is there
                continue
            assert found.texts == [PAGE.format(number) for number in range(len(found.texts))]
            assert len(found.damaged) <= 1
            if len(found.texts) < 6 and not found.damaged:  # cut exactly between records
                assert data[:stop] in {PACKINGS[name]([page(number) for number in range(count)]) for count in range(6)} or name == "a.warc"
        assert max(refused, default=0) < 400

    def test_bytes_between_members_are_told(self, tmp_path):
        """Garbage that is no gzip is one row, and the good record before it is not suspected; zeros at the end are padding."""
        data = gz([page(1)]) + b"garbage" * 30 + gz([page(2)]) + b"\0" * 512
        _, found = read_path(placed(tmp_path, data, "a.warc.gz"))
        assert found.texts == [PAGE.format(1), PAGE.format(2)]
        assert found.errors == {1: "garbage_between_members"}
        _, found = read_path(placed(tmp_path, gz([page(1)]) + b"\0" * 512 + gz([page(2)]), "a.warc.gz"))
        assert (len(found.texts), list(found.errors.values())) == (2, ["garbage_between_members"])

    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("a.warc.gz", b"", "0 bytes"),
            ("a.warc.gz", plain([page(1)]), "does not begin as .gz data"),
            ("a.warc", b"<html>404</html>", "no WARC record"),
            ("a.warc.gz", gzip.compress(b"<html>404</html>", mtime=0), "no WARC record"),
            ("a.warc.zst", b"\x5d\x2a\x4d\x18" + b"\x04\0\0\0abcd" + zst([page(1)]), "dictionary"),
        ],
    )
    def test_a_file_that_is_none_is_told_as_a_file(self, tmp_path, name, data, words):
        """It has no rows that could be counted."""
        with pytest.raises(InputError, match=words):
            read_path(placed(tmp_path, data, name))

    def test_a_file_without_documents_is_fine(self, tmp_path):
        """No rows, but the columns."""
        placed(tmp_path, b"", "empty.warc")
        inventory, found = read_path(placed(tmp_path, gz([info(), *others(1)]), "a.warc.gz").parent)
        assert (inventory.num_files, inventory.rows, found.documents) == (2, 0, {})
        assert inventory.schema.names[:2] == ["id", "text"]

    def test_a_warc_inside_a_page_is_text(self, tmp_path):
        """Bytes that look like records count only where a record should begin."""
        nested = plain([page(7), page(8)]).decode()
        for name in PACKINGS:
            assert read_records(tmp_path, page(1), wet(2, nested), page(3), name=name).texts == [PAGE.format(1), nested, PAGE.format(3)]

    @QUICK
    @given(data=st.data(), name=st.sampled_from(list(PACKINGS)))
    def test_any_damage_gives_every_row_once(self, data, name, tmp_path):
        """Bytes changed, cut out and put in anywhere: reading ends, and gives just the rows that the scan counted."""
        original = PACKINGS[name]([info(), page(1), *others(2), wet(3, "abc"), page(4)])
        spoilt = bytearray(original)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(spoilt)))
            size = data.draw(st.integers(0, 40))
            spoilt[at : at + size] = data.draw(st.binary(max_size=30) | st.sampled_from([b"\nWARC/1.0\r\n", b"\x1f\x8b\x08", b"\r\n\r\n"]))
        try:
            _, found = read_path(placed(tmp_path, bytes(spoilt), name))
        except InputError:
            return
        assert len(found.documents) + len(found.damaged) <= 20


def slices_of(draw, inventory):
    """Slices that cover every row, in order, cut at random places."""
    slices = []
    for ordinal in range(inventory.num_files):
        file = inventory.file(ordinal)
        for index, group in enumerate(file.row_groups):
            bounds = sorted({0, group.rows, *draw(st.lists(st.integers(0, group.rows), max_size=3))})
            slices += [Slice(file, index, start, stop) for start, stop in pairwise(bounds)]
    return slices


PARTS = st.lists(
    st.one_of(
        st.integers(0, 99).map(page),
        st.integers(0, 99).map(lambda number: wet(number, "text " * number)),
        st.integers(0, 8).map(lambda number: others(3)[number]),
        st.just(GARBAGE),
        st.just(record("conversion", b"x" * 300, 9, length=100)),
        st.just(record("conversion", b"x" * 300, 9, length=700)),
        st.just(record("response", http(b"\xff", Content_Encoding="br"))),
        st.just(record("conversion", b"\xff")),
    ),
    min_size=1,
    max_size=25,
).map(lambda parts: [info(), *parts])


class TestLaw:
    @QUICK
    @given(
        data=st.data(), parts=PARTS, name=st.sampled_from(list(PACKINGS)), batch_bytes=st.sampled_from([1, 600, 5000, 1 << 20]),
        group_bytes=st.sampled_from([1, 500, 3000, 1 << 26]), feed=st.sampled_from([7, 1 << 14]),
        place=st.sampled_from(["local", "memory"]),
    )  # fmt: skip
    def test_rows_do_not_depend_on_slices_groups_batches_or_place(
        self, data, parts, name, batch_bytes, group_bytes, feed, place, tmp_path, monkeypatch
    ):
        """The same documents and the same damage in the same order, however the file is cut into row groups, slices and batches."""
        content = PACKINGS[name](parts)
        monkeypatch.setattr(formats_warc, "GROUP_BYTES", 1 << 26)
        _, expected = read_path(placed(tmp_path, content, name))
        monkeypatch.setattr(formats_warc, "GROUP_BYTES", group_bytes)
        monkeypatch.setattr(formats_warc_members, "FEED_BYTES", feed)
        root = f"memory://warc-{os.getpid()}" if place == "memory" else str(tmp_path)
        with open_store(root).writer(name) as writer:
            writer.write(content)
        sources = Sources()
        inventory = take_inventory(sources, [f"{root}/{name}"], OPTIONS)
        found = outcome(sources, inventory, slices_of(data.draw, inventory), batch_bytes)
        assert found.documents == expected.documents
        assert {key: value[0] for key, value in found.damaged.items()} == {key: value[0] for key, value in expected.damaged.items()}

    @pytest.mark.parametrize("name", PACKINGS)
    def test_big_files_are_cut_at_records(self, tmp_path, name, monkeypatch):
        """Row groups of about GROUP_BYTES where there are members or records to cut at, one where there are none."""
        monkeypatch.setattr(formats_warc, "GROUP_BYTES", 10_000)
        parts = [page(number, "x" * 1000) for number in range(100)]
        inventory, _ = read_path(placed(tmp_path, PACKINGS[name](parts), name))
        rows = [group.rows for group in inventory.file(0).row_groups]
        if name == "whole.warc.gz":
            assert rows == [100]
        elif name == "blocks.warc.gz":
            assert sum(rows) == 100
        else:
            assert len(rows) >= 8
            assert max(rows) <= 11
        assert sum(group.length for group in inventory.file(0).row_groups) == inventory.num_bytes

    def test_batches_are_bounded_and_a_giant_is_one_of_its_own(self, tmp_path):
        """50 MB in one record, among small ones."""
        giant = "<p>" + "word " * 10_000_000
        found = read_records(
            tmp_path, *[page(number, "x" * 900) for number in range(200)], page(999, giant), page(1000), batch_bytes=50_000
        )
        assert found.texts[-2:] == [giant, PAGE.format(1000)]
        sizes = [size for rows, size in found.batch_sizes if rows > 1]
        assert max(sizes[:-1]) < 80_000
        assert len(found.batch_sizes) < 20

    def test_s3_gives_what_the_disk_gives(self, tmp_path, s3_server):
        """Documents, damage and row groups."""
        content = gz([page(1), GARBAGE, page(2), *others(3), wet(4, "x")])
        bucket = s3_server.make_bucket()
        s3_server.client().put_object(Bucket=bucket, Key="a.warc.gz", Body=content)
        sources = Sources(s3_server.options)
        inventory = take_inventory(sources, [f"s3://{bucket}/a.warc.gz"], OPTIONS)
        far = outcome(sources, inventory)
        local, near = read_path(placed(tmp_path, content, "a.warc.gz"))
        assert (far.documents, far.damaged) == (near.documents, near.damaged)
        assert list(inventory.file(0).row_groups) == list(local.file(0).row_groups)

    def test_a_file_that_changed_is_an_error_not_damage(self, tmp_path):
        """Overwritten after the inventory was taken."""
        path = placed(tmp_path, gz([page(1), page(2)]), "a.warc.gz")
        sources = Sources()
        inventory = take_inventory(sources, [str(path)], OPTIONS)
        path.write_bytes(gz([page(1)]))
        with pytest.raises(InputChanged):
            outcome(sources, inventory)

    def test_reading_stops_early(self, tmp_path):
        """A slice of the first rows decodes no later ones."""
        path = placed(tmp_path, gz([page(number) for number in range(50)]), "a.warc.gz")
        sources = Sources()
        inventory = take_inventory(sources, [str(path)], OPTIONS).limited(3)
        [item] = read(sources, [Slice(inventory.file(0), 0, 0, 3)], inventory.schema, OPTIONS, 1 << 20)
        assert item.batch.num_rows == 3


def test_a_run_over_wet_and_warc_balances(tmp_path, no_fsync):
    """Documents reach the output, damage the quarantine, and `verify` agrees."""
    folder = tmp_path / "in"
    folder.mkdir()
    placed(folder, gz([info(), wet(1, "A text that is long enough."), GARBAGE, wet(2, "x")]), "a.warc.wet.gz")
    placed(folder, plain([page(3), *others(4), record("response", http(b"\xff", Content_Encoding="br"), 5)]), "b.warc")
    steps = [{"type": "length_filter", "min_chars": 10}]
    found = finished(config_of(tmp_path / "p.yaml", f"{folder}/", tmp_path / "out", steps, execution={"max_quarantined_fraction": 0.5}))
    assert found.texts() == ["A text that is long enough.", PAGE.format(3)]
    assert [(name, row, error) for name, _, row, _, error in found.quarantined()] == [
        ("a.warc.wet.gz", 1, "malformed_record"),
        ("b.warc", 1, "corrupt_payload"),
    ]
    assert found.manifest["ledger"]["dropped"] == {"length_filter": {"too_short": 1}}
