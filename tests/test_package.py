"""What people expect of a package: a version, a report of the machine, completion, papers."""

from __future__ import annotations

import ast
import ctypes
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import scipy
import sklearn

import fastsgd
from fastsgd import _core, versions
from fastsgd.__main__ import SHELLS, main, parser

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
SOURCES = ROOT / "src" / "fastsgd"
ESTIMATORS = [
    *(fastsgd.SGDClassifier, fastsgd.SGDRegressor, fastsgd.SGDOneClassSVM),
    *(fastsgd.MLPClassifier, fastsgd.MLPRegressor),
]


# ---------------------------------------------------------------- versions


def test_the_environment_is_that_of_this_process():
    found = versions.environment()
    assert json.loads(json.dumps(found)) == found
    packages = found["packages"]
    assert packages["fastsgd"] == fastsgd.__version__
    assert packages["numpy"] == np.__version__
    assert packages["scipy"] == scipy.__version__
    assert packages["scikit-learn"] == sklearn.__version__
    assert found["system"]["executable"] == sys.executable
    assert found["core"]["instruction sets"].split() == [*_core.isas()]
    assert found["core"]["instruction set in use"] in _core.isas()
    assert re.match(r"(gcc|clang) \d+\.", found["core"]["compiler"])
    assert any(one["user_api"] in ("blas", "openmp") for one in found["threads"])


def test_show_versions_prints_all_of_it(capsys):
    fastsgd.show_versions()
    out = capsys.readouterr().out
    for text in (*versions.PACKAGES, np.__version__, _core.isa(), _core.compiler(), sys.executable):
        assert text in out
    assert [line for line in out.splitlines() if line and line[0] != " "] == [
        *("System", "Packages", "Core", "Libraries with threads")
    ]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads flags of x86 processors")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo")
def test_instruction_sets_are_those_of_the_processor():
    """Not every compiler's runtime knows the processor: the core asks for itself."""
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split()
    needs = {"scalar": set(), "avx2": {"avx2", "fma", "f16c"}}
    needs["avx512"] = needs["avx2"] | {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    assert _core.isas() == tuple(isa for isa, names in needs.items() if names <= {*flags})


PROCESSOR = """
#include_next <cpuid.h>
unsigned its_ecx, its_ebx;
static int leaf_1(unsigned *ecx) { *ecx = its_ecx | bit_OSXSAVE; return 1; }
static int leaf_7(unsigned *ebx) { *ebx = its_ebx; return 1; }
#define __get_cpuid(LEAF, A, B, C, D)          ((void)(A), (void)(B), (void)(D), leaf_1(C))
#define __get_cpuid_count(LEAF, N, A, B, C, D) ((void)(A), (void)(C), (void)(D), leaf_7(B))
"""
DISPATCH = """
#include "dispatch.c"
#define DEFINE(ISA) \\
    const fsgd_kernels fsgd_kernels_##ISA##_f32, fsgd_kernels_##ISA##_f64; \\
    const fsgd_network_kernels fsgd_network_kernels_##ISA##_f32, fsgd_network_kernels_##ISA##_f64;
FSGD_ISAS(DEFINE)
int supports(const char *isa, unsigned ecx, unsigned ebx) {
    its_ecx = ecx, its_ebx = ebx;
    ask_processor();
    return fsgd_isa_supported(isa);
}
"""
FMA, F16C = 1 << 12, 1 << 29  # of ecx of leaf 1, and of ebx of leaf 7:
AVX2, F, DQ, BW, VL = 1 << 5, 1 << 16, 1 << 17, 1 << 30, 1 << 31


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of x86 processors")
@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="reads /proc/cpuinfo")
@pytest.mark.skipif(
    not shutil.which("gcc") or not CSRC.is_dir(), reason="needs gcc and the sources"
)
def test_a_processor_that_lacks_a_feature_of_an_instruction_set_does_not_run_it(tmp_path):
    """Whichever it is, and whatever others there are. The core's question, asked of every such
    processor; which registers the system saves is that of this one."""
    (tmp_path / "cpuid.h").write_text(PROCESSOR)
    (tmp_path / "isas.h").write_text("#define FSGD_ISAS(F) F(scalar) F(avx2) F(avx512)\n")
    source, library = tmp_path / "all.c", tmp_path / "all.so"
    source.write_text(DISPATCH)
    folders = f"-I{tmp_path}", f"-I{CSRC}"
    subprocess.run(["gcc", "-shared", "-fPIC", *folders, "-o", library, source], check=True)
    supports = ctypes.CDLL(str(library)).supports
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1].split()
    for isa, of_leaf_7, register in (
        ("avx2", (AVX2,), "avx"),
        ("avx512", (AVX2, F, DQ, BW, VL), "avx512f"),
    ):
        needed = [(FMA, 0), (F16C, 0), *((0, bit) for bit in of_leaf_7)]
        for there in itertools.product((False, True), repeat=len(needed)):
            has = list(itertools.compress(needed, there))
            ecx, ebx = (ctypes.c_uint(sum(leaf)) for leaf in zip((0, 0), *has, strict=True))
            assert supports(isa.encode(), ecx, ebx) == (all(there) and register in flags)
            assert supports(b"scalar", ecx, ebx)


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("numpy", "no-such-package-of-anyone"))
    assert versions.environment()["packages"]["no-such-package-of-anyone"] is None


def test_an_instruction_set_that_is_not_there_is_reported(monkeypatch):
    monkeypatch.setenv("FASTSGD_ISA", "abacus")
    assert "abacus" in versions.environment()["core"]["instruction set in use"]


def test_extras_are_among_the_packages_of_the_report():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    wanted += [one for name in ("data", "plot", "dask", "completion") for one in extras[name]]
    names = {re.match(r"[\w-]+", one).group() for one in wanted}
    assert names <= set(versions.PACKAGES)


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert "version" not in project
    assert "version" in project["dynamic"]
    for path in ("pyproject.toml", "CMakeLists.txt", "docs/conf.py", "CITATION.cff"):
        text = (ROOT / path).read_text("utf-8")
        version = re.escape(fastsgd.__version__)
        assert not re.search(rf"(?m)^ *(version|release|VERSION)\b.*{version}", text), path
    assert (ROOT / "CHANGELOG.md").read_text("utf-8").count(f"\n## {fastsgd.__version__}") == 1


def test_the_command_line_says_its_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert not stopped.value.code
    assert capsys.readouterr().out == f"fastsgd {fastsgd.__version__}\n"


# ---------------------------------------------------------------- completion


@pytest.fixture
def bash(tmp_path, capsys):
    """What bash completes the last of these words to."""
    pytest.importorskip("shtab")
    if not shutil.which("bash"):
        pytest.skip("there is no bash")
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", "bash"])
    assert not stopped.value.code
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    (tmp_path / "rows.csv").write_text("")
    (tmp_path / "folder").mkdir()

    def complete(*words: str) -> list[str]:
        line = (
            "source ./completion; f=$(complete -p fastsgd); f=${f##*-F }; f=${f%% *}; "
            'COMP_WORDS=(fastsgd "$@"); COMP_CWORD=$#; "$f" fastsgd "${!#}" ""; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-c", line, "bash", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [line.strip() for line in done.stdout.splitlines()]

    return complete


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        (["tra"], {"train"}, {"predict"}),
        ([""], {"train", "predict", "bench"}, set()),
        (["train", "--alp"], {"--alpha"}, {"--loss"}),
        (["explore", "--problem", ""], {"sine", "network"}, {"train"}),
        (["train", "ro"], {"rows.csv"}, {"folder"}),
        (["inspect", "ro"], {"rows.csv"}, set()),
        (["train", "--cache", "fo"], {"folder"}, {"rows.csv"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_completes_commands_options_values_and_files(bash, words, there, absent):
    found = {one.rstrip("/") for one in bash(*words)}
    assert there <= found
    assert not absent & found


def test_shells_are_those_of_shtab():
    shtab = pytest.importorskip("shtab")
    assert set(SHELLS) >= {"bash", "zsh"}
    assert set(SHELLS) <= set(shtab.SUPPORTED_SHELLS)


def test_without_shtab_completion_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", "zsh"])
    assert stopped.value.code == 1
    assert "pip install 'fastsgd[completion]'" in capsys.readouterr().err


def test_a_shell_that_is_not_there_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(["--print-completion", "dos"])
    assert stopped.value.code == 2
    assert "bash" in capsys.readouterr().err


# ---------------------------------------------------------------- notebooks


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_notebooks_show_every_parameter_and_mark_what_was_set(estimator):
    model = estimator(tol=0.015625)
    html = model._repr_html_()
    assert estimator.__name__ in html
    rows = re.findall(r'<tr class="(user-set|default)">(.*?)</tr>', html, re.S)
    if not rows:
        pytest.skip("this version of scikit-learn shows no parameters")
    assert len(rows) == len(model.get_params())
    assert [kind for kind, row in rows if "0.015625" in row] == ["user-set"]
    assert {kind for kind, row in rows if "0.015625" not in row} == {"default"}
    assert model._repr_mimebundle_().keys() == {"text/plain", "text/html"}


# ---------------------------------------------------------------- papers


def test_no_code_unpickles_or_evaluates_what_it_reads():
    """SECURITY.md says that model files, caches and data files may be anyone's."""
    banned = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
    paths = [*SOURCES.rglob("*.py")]
    assert len(paths) > 100
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not banned & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, path
            elif isinstance(node, ast.Call):
                names = {keyword.arg for keyword in node.keywords}
                assert "allow_pickle" not in names, path
                assert getattr(node.func, "id", "") not in ("eval", "exec"), path


def test_npy_files_with_objects_are_refused(tmp_path):
    """An object that makes a file when it is unpickled does not come to do so."""

    class Code:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "made"),))

    array = np.empty((4, 2), dtype=object)
    array[:] = Code()
    np.save(tmp_path / "rows.npy", array, allow_pickle=True)
    np.save(tmp_path / "y.npy", np.arange(4.0))
    with pytest.raises(ValueError, match=r"rows\.npy"):
        fastsgd.SGDRegressor().fit(str(tmp_path / "rows.npy"), str(tmp_path / "y.npy"))
    assert not (tmp_path / "made").exists()
    np.load(tmp_path / "rows.npy", allow_pickle=True)
    assert (tmp_path / "made").exists()


def test_the_citation_is_complete():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in project["authors"]
    ]
    assert citation["license"] == project["license"]
    assert citation["keywords"] == project["keywords"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
def test_issue_forms_are_forms(path):
    yaml = pytest.importorskip("yaml")
    form = yaml.safe_load(path.read_text("utf-8"))
    if path.name == "config.yml":
        assert form.keys() == {"blank_issues_enabled"}
        return
    assert {"name", "description", "body"} <= form.keys()
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    assert len({one["id"] for one in fields}) == len(fields) > 0
    for one in fields:
        assert one["type"] in ("textarea", "input", "dropdown", "checkboxes")
        assert one["attributes"]["label"]
        assert one.keys() <= {"type", "id", "attributes", "validations"}


def test_reports_ask_for_what_show_versions_prints():
    assert "fastsgd.show_versions()" in (ROOT / ".github/ISSUE_TEMPLATE/defect.yml").read_text()
    assert "fastsgd.show_versions()" in (ROOT / "SECURITY.md").read_text("utf-8")
