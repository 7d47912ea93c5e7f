"""Operators that a pipeline brings along, and the sources that decide what an operator does."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pyarrow as pa
import pytest
from operator_samples import ASSETS
from pydantic import ValidationError

from operators import BY_TYPE
from operators.base import OperatorError
from operators.catalogue import describe_class
from operators.custom import is_custom, load_custom, source_files

ROOT = Path(__file__).resolve().parents[1]
OPERATOR = """
    from typing import Literal
    import pyarrow as pa
    from pydantic import Field
    from operators.base import BatchOperator, Result
    {imports}

    class Mine(BatchOperator):
        '''Add a column.'''
        type: Literal["mine"] = "mine"
        value: int = Field(default={value}, ge=0)

        def open(self, assets):
            {lazily}
            return lambda batch: Result(batch.append_column("mine", pa.array([self.value] * batch.num_rows)))
"""


def write(folder: Path, name: str = "my_module", *, imports: str = "", value: str = "1", lazily: str = "pass") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(dedent(OPERATOR).format(imports=imports, value=value, lazily=lazily))
    return folder


def column(operator) -> list[int]:
    return operator.open(ASSETS)(pa.record_batch({"text": ["a"]})).batch.column("mine").to_pylist()


def test_the_type_is_what_the_pipeline_wrote(tmp_path):
    """The loaded class takes its own settings, validated as any other's, under `module:Class`."""
    cls = load_custom("my_module:Mine", write(tmp_path))
    operator = cls.model_validate({"type": "my_module:Mine", "value": 5})
    assert operator.type == cls().type == "my_module:Mine"
    assert column(operator) == [5]
    with pytest.raises(ValidationError, match="greater than or equal"):
        cls(value=-1)
    with pytest.raises(ValidationError, match="valu"):
        cls(valu=1)
    assert is_custom("my_module:Mine")
    assert not any(is_custom(each) for each in BY_TYPE)


def test_another_process_can_load_it_and_unpickle_it(tmp_path):
    """A worker gets the same operator from the spec and folder, or from a pickle, having imported nothing before."""
    operator = load_custom("my_module:Mine", write(tmp_path))(value=7)
    assert pickle.loads(pickle.dumps(operator)) == operator
    program = (
        f"import pickle; o = pickle.loads({pickle.dumps(operator)!r}); print(o.type, o.value, o.open.__module__.endswith('my_module'))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.returncode) == (["my_module:Mine", "7", "True"], 0), done.stderr


def test_two_folders_may_use_the_same_names(tmp_path):
    """Modules of the same name in two pipelines' folders, and their neighbours, do not meet."""
    for number in ("1", "2"):
        folder = write(
            tmp_path / number,
            imports="import neighbour",
            value="neighbour.VALUE",
            lazily="import neighbour; assert neighbour.VALUE == self.value",
        )
        (folder / "neighbour.py").write_text(f"VALUE = {number}")
    first, second = (load_custom("my_module:Mine", tmp_path / number) for number in ("1", "2"))
    assert (column(first()), column(second()), column(first())) == ([1], [2], [1])
    assert "neighbour" not in sys.modules
    assert "my_module" not in sys.modules


@pytest.mark.parametrize(
    ("imports", "value"),
    [
        ("from .words import VALUE", "VALUE"),
        ("from . import words", "words.VALUE"),
        ("import words", "words.VALUE"),
        ("from words import VALUE", "VALUE"),
        ("import pack.deep as d", "d.VALUE"),
        ("import pack.deep", "pack.deep.VALUE"),
        ("from pack import deep", "deep.VALUE"),
        ("from pack.deep import VALUE", "VALUE"),
    ],
)
def test_neighbours_can_be_imported_in_any_way_and_count(tmp_path, imports, value):
    """Each way of importing works, and the imported file is among those that decide the result."""
    folder = write(tmp_path, imports=imports, value=value)
    (folder / "words.py").write_text("VALUE = 4")
    (folder / "unrelated.py").write_text("raise SystemExit")
    (folder / "pack").mkdir()
    (folder / "pack" / "deep.py").write_text("import words\nVALUE = words.VALUE")
    cls = load_custom("my_module:Mine", folder)
    assert column(cls()) == [4]
    own = {path.relative_to(folder).as_posix() for path in source_files(cls) if path.is_relative_to(folder)}
    assert own == {"my_module.py", "words.py"} | ({"pack/deep.py"} if "pack" in imports else set())


def test_neighbours_never_shadow_what_is_installed(tmp_path):
    """A neighbour called like a module of the standard library is not what `import` means."""
    folder = write(tmp_path, imports="import sys", value="int(sys.maxsize > 0) * 2")
    (folder / "sys.py").write_text("maxsize = -1")
    cls = load_custom("my_module:Mine", folder)
    assert column(cls()) == [2]
    assert folder / "sys.py" not in source_files(cls)


def test_an_edited_file_is_read_again(tmp_path):
    """Editing the module, or a neighbour, shows at the next load, and an operator made before stays what it was."""
    write(tmp_path, imports="import words", value="words.VALUE")
    seen = []
    for value in (1, 2):
        (tmp_path / "words.py").write_text(f"VALUE = {value}")
        seen.append(load_custom("my_module:Mine", tmp_path))
    assert [column(cls()) for cls in seen] == [[1], [2]]
    assert load_custom("my_module:Mine", tmp_path) is seen[1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_module", "module:Class"),
        ("my-module:Mine", "module:Class"),
        ("../my_module:Mine", "module:Class"),
        ("my_modul:Mine", "did you mean 'my_module'"),
        ("elsewhere:Mine", "beside the pipeline file"),
        ("my_module:Mien", "did you mean 'Mine'"),
        ("my_module:pa", "is not an operator"),
        ("my_module:BatchOperator", r"does not define open\(\)"),
        ("broken:Mine", "ZeroDivisionError"),
        ("garbled:Mine", "SyntaxError"),
        ("hungry:Mine", "no_such_library"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path, spec, message):
    """Each mistake is one error with what was found and what to do."""
    write(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "garbled.py").write_text("class Mine(")
    (tmp_path / "hungry.py").write_text("import no_such_library")
    with pytest.raises(OperatorError, match=message):
        load_custom(spec, tmp_path)


def test_operators_count_the_kernels_that_they_import():
    """A kernel imported inside a function counts, the operator next door does not."""
    names = {path.name for path in source_files(BY_TYPE["exact_dedup"])}
    assert {"base.py", "exact_dedup.py", "hashing.py", "spaces.py"} <= names
    assert not names & {"length.py", "__init__.py", "language.py"}
    assert "hashing.py" not in {path.name for path in source_files(BY_TYPE["length_filter"])}


def test_custom_operators_count_what_they_take_from_ours(tmp_path):
    """A custom operator built on one of ours depends on its source and kernels."""
    (tmp_path / "my_module.py").write_text("from operators.exact_dedup import ExactDedup\nclass Mine(ExactDedup):\n    '''As ours.'''\n")
    names = {path.name for path in source_files(load_custom("my_module:Mine", tmp_path))}
    assert {"my_module.py", "exact_dedup.py", "hashing.py", "base.py"} <= names


def test_custom_operators_can_be_described(tmp_path):
    """The catalogue reads a custom class as it reads ours."""
    found = describe_class("my_module:Mine", load_custom("my_module:Mine", write(tmp_path)))
    assert (found.promise, found.settings[0].name, found.settings[0].range) == ("Add a column.", "value", "\u2265 0")
