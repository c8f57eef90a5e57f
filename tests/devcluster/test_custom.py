"""Custom resources: the official definitions are taken as they are, and their objects held to them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from apps.devcluster.api.server import start_api
from apps.devcluster.api.structural import complaints, fill, prune
from apps.devcluster.api.tables import json_path
from apps.devcluster.client import NAMESPACES, Resource
from tests.devcluster.process import Cluster

OFFICIAL = Path(__file__).parents[3] / "shared" / "crds"
DEFINED = Resource("customresourcedefinitions", "apiextensions.k8s.io/v1", "CustomResourceDefinition")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
pytestmark = pytest.mark.asyncio(loop_scope="function")


def definition(plural: str = "trains", *, versions: list[dict[str, Any]] | None = None, **names: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}
    v1 = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    kind = {"plural": plural, "kind": plural[:-1].title(), **names}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": kind, "versions": versions or [v1]},
    }


async def conditions(call: Any, name: str) -> dict[str, str]:
    await asyncio.sleep(0.05)  # the next turn of the server's loop settles them
    status, found = await call("GET", f"{DEFINITIONS}/{name}")
    assert status == 200
    return {c["type"]: c["status"] for c in found["status"]["conditions"]}


class TestDefinitions:
    async def test_are_served_again_after_a_restart(self, tmp_path, call_of):
        first = await start_api(tmp_path, 0, None)
        async with call_of(first) as call:
            await call("POST", DEFINITIONS, definition())
            await asyncio.sleep(0.05)
            made = {"apiVersion": "example.com/v1", "kind": "Train", "metadata": {"name": "t"}, "spec": {"n": 1}}
            assert (await call("POST", "/apis/example.com/v1/namespaces/default/trains", made))[0] == 201
        await first.close()

        second = await start_api(tmp_path, 0, None)
        async with call_of(second) as call:
            status, found = await call("GET", "/apis/example.com/v1/namespaces/default/trains/t")
        await second.close()

        assert (status, found["spec"]) == (200, {"n": 1})

    async def test_say_which_of_their_fields_nobody_knows(self, call):
        body = definition()
        schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        body["spec"]["scoop"] = schema["properties"]["spec"]["nulable"] = True
        # Go reads what is in `items` on its own, and drops what it does not know there without a word.
        schema["properties"]["list"] = {"type": "array", "items": {"type": "string", "colour": "red"}}

        strict, refusal = await call("POST", DEFINITIONS, body, fieldValidation="Strict")
        missing, _ = await call("GET", f"{DEFINITIONS}/trains.example.com")
        async with call.session.post(call.base + DEFINITIONS, json=body) as answer:
            made, warnings = await answer.json(), answer.headers.getall("Warning")

        where = "spec.versions[0].schema.openAPIV3Schema.properties.spec.nulable"
        named = {f'unknown field "{where}"', 'unknown field "spec.scoop"'}
        head = 'CustomResourceDefinition in version "v1" cannot be handled as a CustomResourceDefinition: '
        told = refusal["message"].removeprefix(f"{head}strict decoding error: ")
        assert (strict, set(told.split(", ")), missing) == (400, named, 404)
        assert {json.loads(each.removeprefix("299 - ")) for each in warnings} == named
        kept = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        assert kept["list"] == {"type": "array", "items": {"type": "string"}}
        assert "scoop" not in made["spec"]

    async def test_a_kind_can_be_taken_once_in_a_group(self, call):
        await call("POST", DEFINITIONS, definition("trains"))
        await call("POST", DEFINITIONS, definition("others", kind="Train"))

        assert (await conditions(call, "trains.example.com"))["Established"] == "True"
        assert (await conditions(call, "others.example.com"))["NamesAccepted"] == "False"
        assert (await call("GET", "/apis/example.com/v1/namespaces/default/others"))[0] == 404

    async def test_one_object_is_seen_in_every_served_version(self, call):
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        versions = [
            {"name": "v1beta1", "served": True, "storage": False, "schema": schema},
            {"name": "v1", "served": True, "storage": True, "schema": schema},
        ]
        await call("POST", DEFINITIONS, definition(versions=versions))
        await asyncio.sleep(0.05)
        made = {"apiVersion": "example.com/v1beta1", "kind": "Train", "metadata": {"name": "t"}, "spec": {"a": 1}}

        _, answer = await call("POST", "/apis/example.com/v1beta1/namespaces/default/trains", made)

        assert answer["apiVersion"] == "example.com/v1beta1"
        _, other = await call("GET", "/apis/example.com/v1/namespaces/default/trains/t")
        assert (other["apiVersion"], other["spec"]) == ("example.com/v1", {"a": 1})
        _, group = await call("GET", "/apis/example.com")
        assert group["preferredVersion"]["version"] == "v1"

    async def test_an_object_with_a_finalizer_holds_its_definition(self, call):
        await call("POST", DEFINITIONS, definition())
        await asyncio.sleep(0.05)
        path = "/apis/example.com/v1/namespaces/default/trains"
        held = {"apiVersion": "example.com/v1", "kind": "Train", "metadata": {"name": "t", "finalizers": ["a.b/c"]}}
        await call("POST", path, held)

        await call("DELETE", f"{DEFINITIONS}/trains.example.com")
        assert (await conditions(call, "trains.example.com"))["Terminating"] == "True"
        await call("PATCH", f"{path}/t", {"metadata": {"finalizers": None}}, patch="merge-patch")
        await asyncio.sleep(0.05)

        assert (await call("GET", f"{DEFINITIONS}/trains.example.com"))[0] == 404
        assert (await call("GET", path))[0] == 404


class TestNamespaces:
    async def test_take_custom_objects_with_them_whatever_version_they_have(self, tmp_path):
        """The first kind makes v1 the preferred version of the group; the second has another one only."""
        await asyncio.to_thread(self.story, Cluster(tmp_path / "dc"))

    def story(self, cluster: Cluster) -> None:
        schema = {"openAPIV3Schema": {"type": "object"}}
        alpha = [{"name": "v1alpha1", "served": True, "storage": True, "schema": schema}]
        planes = Resource("planes", "example.com/v1alpha1", "Plane")
        try:
            for made in (definition("trains"), definition("planes", versions=alpha)):
                cluster.do("create", DEFINED, None, made)
            cluster.do("create", NAMESPACES, None, {"metadata": {"name": "gone"}})
            cluster.wait(lambda: cluster.do("create", planes, "gone", {"metadata": {"name": "p"}}), 5)
            cluster.do("delete", NAMESPACES, None, "gone")

            cluster.wait(lambda: not self.exists(cluster, "gone"), 10)

            assert cluster.do("list", planes)[0] == []
        finally:
            cluster.end()

    @staticmethod
    def exists(cluster: Cluster, name: str) -> bool:
        return name in [item["metadata"]["name"] for item in cluster.do("list", NAMESPACES)[0]]


class TestOfficialDefinitions:
    def read(self, pattern: str) -> list[dict[str, Any]]:
        """Only what is asked for: all of them together take a dozen seconds to parse."""
        if not OFFICIAL.exists():
            pytest.skip("the official definitions are not on this machine")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        texts = (path.read_text() for path in sorted(OFFICIAL.glob(f"*/{pattern}.yaml")))
        return [yaml.load(text, Loader=loader) for text in texts]  # noqa: S506 a safe loader

    async def test_are_all_served(self, call):
        documents = {document["metadata"]["name"]: document for document in self.read("*")}  # some are in two packages
        for document in documents.values():
            status, answer = await call("POST", DEFINITIONS, document)
            assert status == 201, answer
        await asyncio.sleep(0.2)

        _, listed = await call("GET", DEFINITIONS)
        assert len(listed["items"]) == len(documents) > 90
        for item in listed["items"]:
            held = {c["type"]: c["status"] for c in item["status"]["conditions"]}
            assert held == {"NamesAccepted": "True", "Established": "True"}, item["metadata"]["name"]

    @pytest.mark.parametrize(
        ("name", "api_version", "spec", "wrong", "field"),
        [
            (
                "rayclusters.ray.io",
                "ray.io/v1",
                {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": []}}}},
                {"headGroupSpec": {"template": 1}},
                "spec.headGroupSpec.template",
            ),
            (
                "jobs.batch.volcano.sh",
                "batch.volcano.sh/v1alpha1",
                {"minAvailable": 1, "queue": "default"},
                {"minAvailable": "one"},
                "spec.minAvailable",
            ),
            (
                "pytorchjobs.kubeflow.org",
                "kubeflow.org/v1",
                {"pytorchReplicaSpecs": {"Master": {"replicas": 1, "restartPolicy": "Never"}}},
                {},
                "spec.pytorchReplicaSpecs",
            ),
            (
                "localqueues.kueue.x-k8s.io",
                "kueue.x-k8s.io/v1beta2",
                {"clusterQueue": "a-queue"},
                {"clusterQueue": "Not A Name"},
                "spec.clusterQueue",
            ),
        ],
    )
    async def test_hold_their_objects(self, call, name, api_version, spec, wrong, field):
        document = self.read(name)[-1]
        await call("POST", DEFINITIONS, document)
        await asyncio.sleep(0.1)
        names = document["spec"]["names"]
        path = f"/apis/{api_version}/namespaces/default/{names['plural']}"
        base = {"apiVersion": api_version, "kind": names["kind"], "metadata": {"name": "one"}}

        refused, refusal = await call("POST", path, {**base, "spec": wrong})
        nothing, _ = await call("GET", f"{path}/one")
        made, answer = await call("POST", path, {**base, "spec": spec})

        assert (refused, nothing, made) == (422, 404, 201), (refusal, answer)
        assert field in [cause["field"] for cause in refusal["details"]["causes"]]


class TestStructuralSchemas:
    SCHEMA = {
        "type": "object",
        "properties": {
            "port": {"x-kubernetes-int-or-string": True},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"default": 1}}}},
            "maybe": {"type": "string", "nullable": True},
            "size": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "default": 2},
        },
    }

    async def test_prunes_what_is_not_described_and_says_where(self):
        unknown: list[str] = []

        kept = prune(self.SCHEMA, {"a": 1, "free": {"b": 2}, "map": {"k": {"a": 1, "c": 3}}, "kind": "X"}, unknown)

        assert kept == {"free": {"b": 2}, "map": {"k": {"a": 1}}, "kind": "X"}
        assert unknown == ["a", "map.k.c"]

    async def test_fills_defaults_also_where_null_is_not_allowed(self):
        obj = {"size": None, "maybe": None, "map": {"k": {}}}

        fill(self.SCHEMA, obj)

        assert obj == {"size": 2, "maybe": None, "map": {"k": {"a": 1}}}

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ({"port": "http"}, []),
            ({"maybe": None}, []),
            ({"port": 1.5}, ['port: Invalid value: "number": port in body must be of type integer,string: "number"']),
            ({"tags": ["a", "b", "a"]}, ['tags[2]: Duplicate value: "a"']),
            ({"size": 0}, ["size: Invalid value: 0: size in body should be greater than 0"]),
        ],
    )
    async def test_complains_in_the_servers_words(self, body, told):
        assert [str(cause) for cause in complaints(self.SCHEMA, body)] == told


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".status.phase", ["Up"]),
        (".spec.list[1]", ["b"]),
        (".spec.list[*]", ["a", "b"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (r".metadata.labels.a\.b/c", ["x"]),
        (".status.absent.deep", []),
    ],
)
async def test_printer_columns_find_their_value(path, found):
    conditions = [{"type": "Other", "status": "No"}, {"type": "Ready", "status": "True"}]
    obj = {
        "metadata": {"labels": {"a.b/c": "x"}},
        "spec": {"list": ["a", "b"]},
        "status": {"phase": "Up", "conditions": conditions},
    }

    assert json_path(obj, path) == found
