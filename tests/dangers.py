"""What no module of the package may do, each rule with samples of what it finds and of what it lets pass.

Names are followed through `import … as …` and `from … import …`, so that an alias hides nothing.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_NO_IMPORT = (
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"),
    *("yaml", "xml", "lxml", "runpy", "code", "codeop", "ctypes", "cffi", "pty", "telnetlib", "ftplib"),
)
_RUNS_TEXT = ("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile")
_UNPICKLES = (
    *("torch.load", "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "torch.serialization.load"),
    *("pandas.read_pickle", "pandas.read_hdf", "pandas.eval", "numpy.lib.npyio.NpzFile"),
)
_SHELLS = (
    *("os.system", "os.popen", "os.startfile", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("asyncio.create_subprocess_shell", "commands.getoutput", "pty.spawn"),
)
_PROCESSES = ("run", "call", "check_call", "check_output", "Popen")
_SQL = ("execute", "executescript", "exec_driver_sql", "executemany")


@dataclass
class Source:
    """A module as its tree, with what its names stand for."""

    tree: ast.Module
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> "Source":
        source = cls(ast.parse(text))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    source.names[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                source.names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        return source

    def dotted(self, node: ast.expr) -> str:
        """The full name of what is called; what is reached through a value begins with a dot."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.dotted(node.value)}.{node.attr}"
        return ""

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield self.dotted(node.func), node

    def imported(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


@dataclass(frozen=True)
class Rule:
    """Something that is not done."""

    id: str
    finds: Callable[[Source], Iterator[str]]
    bad: tuple[str, ...]
    good: tuple[str, ...]


def _keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def _is_text(node: ast.expr) -> bool:
    """Whether an expression is a text, or put together to one."""
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.Call):
        return (
            isinstance(node.func, ast.Attribute) and node.func.attr in ("join", "format") and _is_text(node.func.value)
        )
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _imports(source: Source) -> Iterator[str]:
    return (name for name in source.imported() if name.partition(".")[0] in _NO_IMPORT)


def _runs_text(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and source.dotted(node) in _RUNS_TEXT:
            yield source.dotted(node)
    for name, call in source.calls():
        if name.rpartition(".")[2] in ("eval", "query") and call.args and "." in name:  # of a DataFrame
            yield name


def _named(*names: str) -> Callable[[Source], Iterator[str]]:
    return lambda source: (name for name, _ in source.calls() if name in names)


def _arrays(source: Source) -> Iterator[str]:
    """`numpy.load` without a word on pickles, or one that allows them."""
    for name, call in source.calls():
        if name == "numpy.load" and _keyword(call, "allow_pickle") != "False":
            yield name


def _shells(source: Source) -> Iterator[str]:
    for name, call in source.calls():
        if name in _SHELLS or name.startswith(("os.exec", "os.spawn", "os.posix_spawn")):
            yield name
        of_process = name.startswith("subprocess.") and name.rpartition(".")[2] in _PROCESSES
        if _keyword(call, "shell") is not None or (of_process and (not call.args or _is_text(call.args[0]))):
            yield name


def _archives(source: Source) -> Iterator[str]:
    """Unpacking that follows links and `..`."""
    for name, call in source.calls():
        last = name.rpartition(".")[2]
        if last in ("extractall", "unpack_archive") and _keyword(call, "filter") != "'data'":
            yield name


def _yaml(source: Source) -> Iterator[str]:
    for name, call in source.calls():
        if name.rpartition(".")[2] == "YAML" and _keyword(call, "typ") != "'safe'":
            yield name


def _sql(source: Source) -> Iterator[str]:
    """Statements put together from parts."""
    for name, call in source.calls():
        made = call.args and _is_text(call.args[0]) and not isinstance(call.args[0], ast.Constant)
        if name.rpartition(".")[2] in _SQL and made:
            yield name


def _imports_by_name(source: Source) -> Iterator[str]:
    for name, call in source.calls():
        if name == "importlib.import_module" and not (call.args and isinstance(call.args[0], ast.Constant)):
            yield name


def _unchecked(source: Source) -> Iterator[str]:
    """Connections that do not look who answers."""
    for name, call in source.calls():
        if _keyword(call, "verify") == "False" or name == "ssl._create_unverified_context":
            yield name


RULES = (
    Rule(
        "no-module-that-runs-what-it-reads",
        _imports,
        ("import pickle", "from joblib import load", "import yaml", "def f():\n    import dill as d", "import xml.sax"),
        ("import json", "import pickletools", "from ruamel.yaml import YAML"),
    ),
    Rule(
        "no-text-is-run",
        _runs_text,
        (
            "eval('1')",
            "run = exec",
            "import builtins as b\nb.exec('')",
            "compile('1', '', 'eval')",
            "df.query('a > 1')",
        ),
        ("model.eval()", "import re\nre.compile('a')", "evaluate('a')"),
    ),
    Rule(
        "nothing-is-unpickled",
        _named(*_UNPICKLES),
        ("import torch\ntorch.load(f)", "from torch import load as l\nl(f)", "import pandas as pd\npd.read_pickle(f)"),
        ("from safetensors.torch import load\nload(b)", "model.load_state_dict(s)"),
    ),
    Rule(
        "arrays-hold-no-pickles",
        _arrays,
        ("import numpy as np\nnp.load(f)", "from numpy import load\nload(f, allow_pickle=True)"),
        ("import numpy as np\nnp.load(f, allow_pickle=False)",),
    ),
    Rule(
        "no-shell",
        _shells,
        (
            "import os\nos.system('ls')",
            "import subprocess\nsubprocess.run('ls')",
            "from subprocess import Popen as P\nP(f'ls {a}')",
            "import subprocess\nsubprocess.run(['ls'], shell=True)",
            "import subprocess\nsubprocess.check_output('ls ' + a)",
            "import os\nos.execv(a, b)",
        ),
        ("import subprocess\nsubprocess.run(['ls', a], check=True)", "runner.run('x')"),
    ),
    Rule(
        "no-guessable-temporary-name",
        _named("tempfile.mktemp", "os.tempnam", "os.tmpnam"),
        ("import tempfile\ntempfile.mktemp()", "from tempfile import mktemp as m\nm()"),
        ("import tempfile\ntempfile.mkstemp()",),
    ),
    Rule(
        "archives-stay-in-their-folder",
        _archives,
        ("import tarfile\ntarfile.open(f).extractall()", "import shutil\nshutil.unpack_archive(f, d)"),
        ("import tarfile\ntarfile.open(f).extractall(d, filter='data')",),
    ),
    Rule(
        "yaml-makes-no-objects",
        _yaml,
        ("from ruamel.yaml import YAML\nYAML()", "from ruamel import yaml\nyaml.YAML(typ='unsafe')"),
        ("from ruamel.yaml import YAML\nYAML(typ='safe', pure=True)",),
    ),
    Rule(
        "sql-is-not-put-together",
        _sql,
        ("db.execute(f'DROP TABLE {a}')", "db.execute('SELECT ' + a)", "c.exec_driver_sql('{}'.format(a))"),
        ("db.execute('SELECT ?', (a,))",),
    ),
    Rule(
        "no-module-is-imported-by-a-name-from-outside",
        _imports_by_name,
        ("import importlib\nimportlib.import_module(a)",),
        ("import importlib\nimportlib.import_module('json')",),
    ),
    Rule(
        "connections-look-who-answers",
        _unchecked,
        ("import httpx\nhttpx.get(u, verify=False)", "import ssl\nssl._create_unverified_context()"),
        ("import httpx\nhttpx.get(u)",),
    ),
)
