import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import InvalidInput
from apps.jobtemplates import services
from apps.jobtemplates.documents import read_document
from apps.jobtemplates.rendering import check_body, render
from apps.jobtemplates.schema import check_schema, clean_params
from apps.jobtemplates.services import SHIPPED
from apps.jobtemplates.workload import SecretRef, Workload

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "word": {"type": "string"},
        "count": {"type": "integer"},
        "flag": {"type": "boolean"},
        "args": {"type": "array", "items": {"type": "string"}},
        "env": {"type": "array", "items": {"type": "string", "format": "env"}},
        "keys": {"type": "array", "items": {"type": "string", "format": "secret-env"}},
        "key": {"type": "string", "format": "secret"},
    },
}


def rendered(params, **body):
    body = {"image": "busybox", **body}
    check_body(body, SCHEMA)
    return render(body, params)


def places(**body):
    with pytest.raises(InvalidInput) as refusal:
        check_body({"image": "busybox", **body}, SCHEMA)
    return set(refusal.value.fields)


class TestRender:
    def test_param_format_and_splice(self):
        command = ["run", {"$format": "--n={count}/{flag} {{x}}"}, {"$splice": {"$param": "args"}}, {"$param": "word"}]

        workload = rendered({"count": 3, "flag": True, "args": ["a b", "c"]}, command=command)

        assert workload.command == ("run", "--n=3/true {x}", "a b", "c")

    def test_values_are_never_read_as_formats(self):
        hostile = "{word.__class__} {0} %(x)s $(id) `id` {{"

        assert rendered({"word": hostile}, args=[{"$format": "{word}"}]).args == (hostile,)

    @pytest.mark.parametrize("value", ["a b", "'; rm -rf / #", "$(id)\n`id`", "", "é\\"])
    def test_shell_quotes_for_a_real_shell(self, value):
        body = {"command": ["/bin/sh", "-c", {"$join": ["printf %s ", {"$shell": "word"}]}]}

        workload = rendered({"word": value}, **body)

        printed = subprocess.run(workload.command, capture_output=True, check=True).stdout  # noqa: S603
        assert printed.decode() == value

    def test_shell_quotes_lists_word_by_word(self):
        line = rendered({"args": ["a b", "$c"]}, args=[{"$shell": "args"}]).args[0]

        assert shlex.split(line) == ["a b", "$c"]

    def test_conditions(self):
        choice = {"$if": {"param": "flag", "equals": True}, "then": "yes", "else": "no"}
        given = {"$if": {"param": "word", "set": True}, "then": {"$format": "--word={word}"}}

        assert rendered({"flag": True}, args=[choice, given]).args == ("yes",)
        assert rendered({"flag": False, "word": "w"}, args=[choice, given]).args == ("no", "--word=w")
        assert rendered({"flag": 1}, args=[choice]).args == ("no",)

    def test_later_environment_wins_and_nothing_is_left_out(self):
        env = [{"A": "1", "B": {"$param": "word"}, "N": {"$param": "count"}}, {"$param": "env"}, {"Z": "9"}]

        assert rendered({"env": ["A=2", "C=x=y"], "count": 4}, env=env).env == {
            "A": "2",
            "N": "4",
            "C": "x=y",
            "Z": "9",
        }

    def test_secrets_come_from_references_and_lists(self):
        secrets = [{"TOKEN": {"$param": "key"}, "FIXED": "shared/KEY"}, {"$param": "keys"}]

        workload = rendered({"key": "a/B", "keys": ["X=c/d.e"]}, secret_env=secrets)

        assert workload.secret_env == {
            "TOKEN": SecretRef("a", "B"),
            "FIXED": SecretRef("shared", "KEY"),
            "X": SecretRef("c", "d.e"),
        }

    def test_refuses_files_no_configmap_holds(self):
        with pytest.raises(InvalidInput, match="900 KiB"):
            rendered({"word": "x" * 500_000}, files={"a": {"$param": "word"}, "b": {"$param": "word"}})


class TestCheckBody:
    @pytest.mark.parametrize(
        ("body", "place"),
        [
            ({"privileged": True}, "body.privileged"),
            ({"command": "ls"}, "body.command"),
            ({"command": [{"$param": "nope"}]}, "body.command[0].$param"),
            ({"command": ["a", {"$param": "args"}]}, "body.command[1].$param"),
            ({"command": [{"$format": "{word.__class__}"}]}, "body.command[0].$format"),
            ({"command": [{"$format": "{word!r}"}]}, "body.command[0].$format"),
            ({"command": [{"$format": "{word:>9}"}]}, "body.command[0].$format"),
            ({"command": [{"$format": "{0}"}]}, "body.command[0].$format"),
            ({"command": [{"$format": "{nope}"}]}, "body.command[0].$format"),
            ({"command": [{"$eval": "1"}]}, "body.command[0]"),
            ({"command": [{"$param": "word", "then": 1}]}, "body.command[0].then"),
            ({"command": [{"$splice": {"$param": "word"}}]}, "body.command[0].$splice.$param"),
            ({"command": [{"$if": {"param": "word"}, "then": "x"}]}, "body.command[0].$if"),
            ({"command": [{"$if": {"param": "flag", "equals": True}}]}, "body.command[0].then"),
            ({"command": [{"$param": "key"}]}, "body.command[0].$param"),
            ({"env": {"1A": "x"}}, "body.env.1A"),
            ({"env": [{"$param": "args"}]}, "body.env[0]"),
            ({"env": [{"$param": "keys"}]}, "body.env[0]"),
            ({"secret_env": {"A": {"$param": "word"}}}, "body.secret_env.A.$param"),
            ({"secret_env": {"A": "plain"}}, "body.secret_env.A"),
            ({"files": {"../x": "y"}}, "body.files.../x"),
            ({"workers": "2"}, "body.workers"),
            ({"workers": 0}, "body.workers"),
            ({"workers": {"$param": "word"}}, "body.workers.$param"),
            ({"port": 70000}, "body.port"),
            ({"interpreter": "perl"}, "body.interpreter"),
        ],
    )
    def test_names_the_bad_place(self, body, place):
        assert places(**body) == {place}

    @pytest.mark.parametrize("body", [None, [], "x", 1])
    def test_wants_an_object(self, body):
        with pytest.raises(InvalidInput) as refusal:
            check_body(body, SCHEMA)

        assert set(refusal.value.fields) == {"body"}

    def test_refuses_what_is_too_deep(self):
        node: object = "x"
        for _ in range(3000):
            node = {"$if": {"param": "flag", "set": True}, "then": node}

        assert len(places(args=[node])) == 1


words = st.sampled_from(["$param", "$format", "$shell", "$join", "$if", "$splice", "then", "else", "param", "equals"])
leaves = st.sampled_from(["word", "count", "args", "env", "keys", "key", "{word}", "{word.x}", "", 1, True, None, 0.5])
nodes = st.recursive(leaves, lambda n: st.lists(n, max_size=3) | st.dictionaries(words, n, max_size=3), max_leaves=8)
fields = st.sampled_from(["image", "command", "args", "env", "secret_env", "files", "workers", "port", "working_dir"])
GIVEN = {"word": "w", "count": 2, "flag": True, "args": ["a"], "env": ["A=1"], "keys": ["K=s/k"], "key": "s/k"}


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(fields, nodes, max_size=4))
def test_a_body_is_refused_with_its_places_or_can_be_rendered(body):
    for params in ({}, GIVEN):
        try:
            check_body({"image": "busybox", **body}, SCHEMA)
            workload = render({"image": "busybox", **body}, params)
        except InvalidInput:
            continue
        assert all(isinstance(part, str) for part in (*workload.command, *workload.args, *workload.env.values()))


def shipped(slug, **params):
    content = read_document((SHIPPED / f"{slug}.yaml").read_text(), at="file")
    check_schema(content["schema"])
    check_body(content["body"], content["schema"])
    return render(content["body"], clean_params(content["schema"], params))


def launcher(slug):
    return read_document((SHIPPED / f"{slug}.yaml").read_text(), at="file")["body"]["files"]["launch.sh"]


class TestShipped:
    def test_command(self):
        assert shipped("command", image="python:3.11-slim", command="python -c 'print(1)'") == Workload(
            image="python:3.11-slim",
            command=("/bin/sh", "-c", "python -c 'print(1)'"),
            working_dir="/workspace",
        )

    def test_command_with_everything(self):
        workload = shipped("command", command="x\ny", working_dir="/srv", env=["A=1"], secret_env=["K=s/k"])

        assert workload == Workload(
            image="python:3.11-slim",
            command=("/bin/sh", "-c", "x\ny"),
            working_dir="/srv",
            env={"A": "1"},
            secret_env={"K": SecretRef("s", "k")},
        )

    def test_python_typed(self):
        assert shipped("python", code="print(1)\n", args=["--a", "b c"], env=["A=1"]) == Workload(
            image="python:3.11-slim",
            interpreter="python",
            command=("python", "/cube/files/main.py", "--a", "b c"),
            files={"main.py": "print(1)\n"},
            env={"PYTHONUNBUFFERED": "1", "A": "1"},
            working_dir="/workspace",
        )

    def test_python_from_the_workspace(self):
        assert shipped("python", source="workspace", path="./examples//train_digits.py") == Workload(
            image="python:3.11-slim",
            interpreter="python",
            command=("python", "/workspace/examples/train_digits.py"),
            env={"PYTHONUNBUFFERED": "1"},
            working_dir="/workspace",
        )

    def test_pytorch(self):
        workload = shipped("pytorch", source="workspace", path="ddp.py", args=["-x"], workers=3, device="gpu")

        assert workload == Workload(
            image="pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime",
            interpreter="python",
            command=("/bin/sh", "/cube/files/launch.sh"),
            args=("/workspace/ddp.py", "-x"),
            files={"launch.sh": launcher("pytorch")},
            env={
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                "CUBE_PROCESSES_PER_WORKER": "1",
                "CUBE_MASTER_PORT": "29500",
                "TORCH_BACKEND": "nccl",
            },
            workers=3,
            port=29500,
            working_dir="/workspace",
        )

    def test_pytorch_on_cpus_has_no_nccl(self):
        with pytest.raises(InvalidInput) as refusal:
            shipped("pytorch", code="1", backend="nccl")

        assert refusal.value.fields == {"params.backend": ["Choose one of: gloo."]}

    def test_distributed_python(self):
        workload = shipped("distributed-python", code="print(1)")

        assert workload == Workload(
            image="python:3.11-slim",
            interpreter="python",
            command=("/bin/sh", "/cube/files/launch.sh"),
            args=("/cube/files/main.py",),
            files={"launch.sh": launcher("distributed-python"), "main.py": "print(1)"},
            env={"PYTHONUNBUFFERED": "1", "CUBE_MASTER_PORT": "29500"},
            workers=2,
            port=29500,
            working_dir="/workspace",
        )

    def test_all_of_them_are_tried_here(self):
        assert {file.stem for file in SHIPPED.glob("*.yaml")} == {"command", "python", "pytorch", "distributed-python"}


class TestLaunchScripts:
    """Run by a real shell, with `python` standing in as a program that prints what it was given."""

    @pytest.fixture
    def launch(self, tmp_path):
        def run(slug, fake_python, *args, **env):
            (tmp_path / "python").write_text(f"#!/bin/sh\n{fake_python}\n")
            (tmp_path / "python").chmod(0o755)
            (tmp_path / "launch.sh").write_text(launcher(slug))
            return subprocess.run(  # noqa: S603
                ["/bin/sh", str(tmp_path / "launch.sh"), *args],
                env={"PATH": f"{tmp_path}:/usr/bin:/bin", **env},
                capture_output=True,
                text=True,
                check=False,
            )

        return run

    def test_without_pytorch_one_sentence_says_what_to_do(self, launch):
        result = launch("pytorch", "exit 1", "x.py")

        assert result.returncode == 78
        assert result.stderr == (
            "PyTorch is not installed in this image. On the built-in devcluster run: make extras\n"
        )

    def test_torchrun_is_told_its_place_and_arguments_stay_whole(self, launch):
        result = launch(
            "pytorch",
            '[ "$1" = -c ] || printf "%s\\n" "$@"',
            "/workspace/a b.py",
            "$(id)",
            CUBE_WORKERS="2",
            CUBE_MASTER_ADDR="job-0.job",
            CUBE_MASTER_PORT="29500",
            CUBE_PROCESSES_PER_WORKER="4",
            JOB_COMPLETION_INDEX="1",
        )

        assert result.stdout.splitlines() == [
            "-m",
            "torch.distributed.run",
            "--nnodes=2",
            "--nproc-per-node=4",
            "--node-rank=1",
            "--master-addr=job-0.job",
            "--master-port=29500",
            "/workspace/a b.py",
            "$(id)",
        ]

    def test_a_lone_worker_is_its_own_master(self, launch):
        result = launch(
            "distributed-python", 'echo "$RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*"', "x.py", CUBE_MASTER_PORT="7"
        )

        assert result.stdout == "0 1 127.0.0.1 7 x.py\n"


class TestDocuments:
    BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (BOMB, "Line 2, column 8: references (*name) are not allowed."),
            ("a: 1\na: 2", "Line 2, column 1: the key a is written twice."),
            ("a: [1, 2", "Line 1, column 9: expected ',' or ']', but got '<stream end>'."),
            ("a: !!python/object/apply:os.system [id]", "Line 1, column 4: could not determine a constructor"),
            ("[" * 60_000, "Nested too deeply: at most 24 levels."),
            ("[" * 40 + "]" * 40, "Nested too deeply: at most 24 levels."),
            ("x" * 600_000, "Too long: at most 512 KiB."),
            ('a: "\\0"', "NUL characters are not allowed."),
            ("? [1, 2]\n: 3", "Line 1, column 3: keys must be plain text."),
        ],
    )
    def test_refuses(self, text, message):
        with pytest.raises(InvalidInput) as refusal:
            read_document(text, at="schema")

        assert message in str(refusal.value)

    def test_reads_yaml_as_json_means_it(self):
        text = "{on: yes, day: 2026-01-01, big: 1_000, n: 3, f: 1.5, t: true, z: null, e: 1e3, zip: 01234}"

        assert read_document(text, at="x") == {
            "on": "yes",
            "day": "2026-01-01",
            "big": "1_000",
            "n": 3,
            "f": 1.5,
            "t": True,
            "z": None,
            "e": 1000.0,
            "zip": "01234",
        }


@pytest.mark.django_db
def test_installing_shipped_templates_twice_publishes_once():
    first = services.install_shipped()

    assert {str(version) for version in first} == {"command v1", "python v1", "pytorch v1", "distributed-python v1"}
    assert services.install_shipped() == []
