"""Assets of operators: files and folders by their content, fetched once a machine, and never another than the one that was planned with."""

from __future__ import annotations

import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from operator_samples import FakeAssets, documents

from operators.url import UrlFilter
from pipelines import assets
from pipelines.assets import asset_digest, asset_tables, local_asset
from pipelines.chain import open_chain
from pipelines.errors import InputChanged, InputError, NotFound, UnitError
from pipelines.fingerprint import operator_facts
from pipelines.storage import Sources

FILES = {"deu_Latn.yml": "stopwords: [no, on, der]\nratio: 0.5\n", "nob_Latn.yaml": "stopwords: ['no']\n", "notes.txt": "no table"}


@pytest.fixture
def sources(tmp_path, monkeypatch) -> Sources:
    """Sources on a machine that has no asset yet."""
    monkeypatch.setattr(assets.tempfile, "gettempdir", lambda: str(tmp_path / "machine"))
    monkeypatch.setattr(assets, "_CHECKED", set())
    return Sources({})


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "tables"
    made.mkdir()
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


def packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, "configs")
    return archive


def test_a_folder_and_its_archive_hold_the_same_tables(sources, folder, tmp_path):
    """Tables are read from either, by the files' names; other files are none, and `no` is a word."""
    archive = packed(folder, tmp_path / "tables.tar.gz")
    both = [asset_tables(sources, uri, asset_digest(sources, uri)) for uri in (str(folder), f"{folder}/", str(archive))]
    assert (
        both[0] == both[1] == both[2] == {"deu_Latn": {"stopwords": ["no", "on", "der"], "ratio": 0.5}, "nob_Latn": {"stopwords": ["no"]}}
    )


def test_a_folder_is_the_names_and_contents_of_its_files(sources, folder):
    """Another content or another name is another asset; the order in which files were made is not."""
    digests = [asset_digest(sources, str(folder))]
    again = (folder / "deu_Latn.yml").read_text()
    (folder / "deu_Latn.yml").unlink()
    (folder / "deu_Latn.yml").write_text(again)
    assert asset_digest(sources, str(folder)) == digests[0]
    (folder / "notes.txt").write_text("another")
    digests.append(asset_digest(sources, str(folder)))
    (folder / "notes.txt").rename(folder / "others.txt")
    digests.append(asset_digest(sources, str(folder)))
    assert len(set(digests)) == 3


def test_an_asset_is_fetched_once_and_mended(sources, tmp_path):
    """A machine keeps an asset by its content; a local copy that is damaged is fetched anew."""
    model = tmp_path / "model.bin"
    model.write_bytes(b"m" * 100_000)
    digest = asset_digest(sources, str(model))
    path = local_asset(sources, str(model), digest)
    assert path != model
    assert path.read_bytes() == model.read_bytes()
    path.write_bytes(b"half")
    assets._CHECKED.clear()
    assert local_asset(sources, str(model), digest).read_bytes() == model.read_bytes()
    model.unlink()
    assets._CHECKED.clear()
    assert local_asset(sources, str(model), digest).read_bytes() == b"m" * 100_000


def test_big_assets_come_in_pieces(sources, tmp_path, monkeypatch):
    """A model larger than a piece is the same model."""
    monkeypatch.setattr(assets, "CHUNK_BYTES", 1000)
    model = tmp_path / "model.bin"
    model.write_bytes(bytes(range(256)) * 41)
    assert local_asset(sources, str(model), asset_digest(sources, str(model))).read_bytes() == model.read_bytes()


def test_an_asset_that_changed_stops_the_run(sources, tmp_path):
    """What lies there now is not what the plan was made with."""
    model = tmp_path / "model.bin"
    model.write_bytes(b"one")
    digest = asset_digest(sources, str(model))
    model.write_bytes(b"two")
    with pytest.raises(InputChanged, match="changed while the run"):
        local_asset(sources, str(model), digest)
    assert not list((tmp_path / "machine").rglob(".*"))


def test_what_is_not_there_or_no_table_is_told(sources, tmp_path):
    """Errors name the asset and what was expected."""
    with pytest.raises(NotFound):
        asset_digest(sources, str(tmp_path / "absent"))
    for name, content, message in (("a.tar", b"no archive", "no archive"), ("b.yml", b"[1, 2]", "no archive")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            asset_tables(sources, str(tmp_path / name), asset_digest(sources, str(tmp_path / name)))
    bad = tmp_path / "bad"
    bad.mkdir()
    for text, message in (("- 1", "found no table"), ("a: [", "no YAML")):
        (bad / "x.yml").write_text(text)
        with pytest.raises(InputError, match=message):
            asset_tables(sources, str(bad), asset_digest(sources, str(bad)))


def test_two_tables_of_one_name_or_one_that_is_no_text_are_told(sources, tmp_path):
    """Neither may win over the other unseen; a byte that is no UTF-8 is an error with the file's name."""
    folder = tmp_path / "tables"
    for name in ("a/deu_Latn.yml", "b/deu_Latn.yaml"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("ratio: 1\n")
    with pytest.raises(InputError, match="another file 'deu_Latn'"):
        asset_tables(sources, str(folder), asset_digest(sources, str(folder)))
    (folder / "b/deu_Latn.yaml").unlink()
    (folder / "a/deu_Latn.yml").write_bytes(b"stopwords: [f\xfcr]\n")
    with pytest.raises(InputError, match=r"deu_Latn\.yml: it is not UTF-8"):
        asset_tables(sources, str(folder), asset_digest(sources, str(folder)))


def test_keys_of_tables_may_be_numbers_and_half_a_copy_is_mended(sources, folder, tmp_path):
    """`top_n_grams: {2: 0.2}` is a table; the parsed copy that a stopped machine left is parsed again."""
    (folder / "deu_Latn.yml").write_text("top_n_grams: {2: 0.2}\n")
    digest = asset_digest(sources, str(folder))
    first = asset_tables(sources, str(folder), digest)
    assert first["deu_Latn"] == {"top_n_grams": {"2": 0.2}}
    (parsed,) = (tmp_path / "machine").rglob("*.tables.json")
    parsed.write_bytes(parsed.read_bytes()[:10])
    assert asset_tables(sources, str(folder), digest) == first


SIGNED = "https://me:pa55word@example.org/lists/domains.txt?X-Amz-Signature=0123456789abcdef&part="


class Signed:
    """A store of which every URL is good."""

    def info(self, uri: str) -> SimpleNamespace:
        return SimpleNamespace(size=3, etag=None)

    def read_range(self, uri: str, start: int, stop: int, *, etag: str | None) -> bytes:
        return b"one"


def test_a_signed_url_names_no_file(sources):
    """Its query is longer than a file name may be, and nobody's business; two signatures share a copy."""
    uris = [SIGNED + "x" * 300, SIGNED.replace("0123", "4567")]
    digest = asset_digest(Signed(), uris[0])
    first, second = (local_asset(Signed(), uri, digest) for uri in uris)
    assert first == second
    assert first.name == "domains.txt"


def test_facts_of_a_stage_hold_no_signature():
    """They stand in the plan's file. Another signature is no change, another content or address is."""

    def facts(uri: str, content: str = "a", **settings: list[str]) -> dict[str, object]:
        return operator_facts(UrlFilter(domain_lists=[uri], **settings), {uri: content}, 0)

    first = facts(SIGNED)
    assert "pa55word" not in str(first)
    assert "0123456789abcdef" not in str(first)
    assert facts(SIGNED.replace("0123", "4567")) == first
    assert facts(SIGNED, "b") != first
    assert facts(SIGNED + "2") != first
    keys = [f"https://example.org/?key={number}" for number in range(3)]
    assert facts(SIGNED, urls=keys[:1]) != facts(SIGNED, urls=keys[1:2]), "entries are no assets: each is another setting"
    both = UrlFilter(domain_lists=keys[:2])
    assert operator_facts(both, dict(zip(keys, "ab", strict=False)), 0) != operator_facts(both, dict(zip(keys, "ac", strict=False)), 0)


def test_an_operator_s_error_holds_no_signature(tmp_path):
    """Operators name an asset by its address; what they say of it goes into logs."""
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    uri = SIGNED + "1"
    with pytest.raises(UnitError, match=r"domains\.txt.*holds no entry") as caught:
        open_chain([UrlFilter(domain_lists=[uri])], documents().schema, FakeAssets(moved={uri: str(empty)}))
    assert "pa55word" not in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)
