"""Who owns which field: the entries a client outside leaves, loses and may send itself."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from apps.devcluster.api import fieldsets, shapes

pytestmark = pytest.mark.asyncio(loop_scope="function")
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEAF: dict[str, Any] = {}


def config_map(name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment() -> dict[str, Any]:
    ports = [{"containerPort": 80}]
    container = {"name": "main", "image": "busybox:1", "ports": ports, "resources": {"limits": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def owned(obj: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(e["manager"], e["operation"], e["fieldsV1"]) for e in obj["metadata"].get("managedFields", ())]


async def applied(call: Any, path: str, body: Any, manager: str, **query: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/apply-patch+yaml"}
    query["fieldManager"] = manager
    async with call.session.patch(call.base + path, data=json.dumps(body), params=query, headers=headers) as answer:
        return answer.status, await answer.json()


class TestUpdates:
    async def test_creating_owns_what_is_given_and_what_is_filled_in(self, call):
        _, made = await call("POST", DEPLOYMENTS, deployment(), fieldManager="alice")

        port = {".": {}, "f:containerPort": {}, "f:protocol": {}}
        container = {
            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {},
            "f:ports": {".": {}, 'k:{"containerPort":80,"protocol":"TCP"}': port},
            "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}},
            "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
        }  # fmt: skip
        pod = {
            "f:containers": {'k:{"name":"main"}': container}, "f:dnsPolicy": {}, "f:restartPolicy": {},
            "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
        }  # fmt: skip
        rolling = {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}
        spec = {
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": rolling, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": pod},
        }  # fmt: skip
        assert owned(made) == [("alice", "Update", {"f:spec": spec})]

    async def test_what_the_server_chooses_is_nobodys(self, call):
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}
        body = {"metadata": {"name": "j", "labels": {"a": "b"}}, "spec": {"template": {"spec": pod}}}

        _, made = await call("POST", "/apis/batch/v1/namespaces/default/jobs", body, fieldManager="alice")

        (entry,) = made["metadata"]["managedFields"]
        assert "job-name" in made["spec"]["template"]["metadata"]["labels"]
        assert set(entry["fieldsV1"]["f:spec"]["f:template"]) == {"f:spec"}
        assert "f:selector" not in entry["fieldsV1"]["f:spec"]
        assert "f:status" not in entry["fieldsV1"]

    @pytest.mark.parametrize(
        ("agent", "manager"), [("kubectl/v1.36.2 (linux/amd64) kubernetes/abc", "kubectl"), ("", "unknown")]
    )
    async def test_a_client_that_names_no_manager_is_known_by_its_program(self, call, agent, manager):
        headers = {"User-Agent": agent}
        async with call.session.post(call.base + MAPS, json=config_map(a="1"), headers=headers) as answer:
            made = await answer.json()

        assert owned(made) == [(manager, "Update", {"f:data": {".": {}, "f:a": {}}})]

    async def test_a_change_moves_the_field_and_a_removal_leaves_it_to_nobody(self, call):
        await call("POST", MAPS, config_map(a="1", b="1", c="1"), fieldManager="alice")

        change = {"data": {"a": "2", "b": None, "d": "1"}}
        _, changed = await call("PATCH", f"{MAPS}/one", change, patch="merge-patch", fieldManager="bob")

        assert owned(changed) == [
            ("alice", "Update", {"f:data": {".": {}, "f:c": {}}}),
            ("bob", "Update", {"f:data": {"f:a": {}, "f:d": {}}}),
        ]

    async def test_a_status_has_an_entry_of_its_own(self, call):
        await call("POST", DEPLOYMENTS, deployment(), fieldManager="alice")
        condition = {"type": "Available", "status": "True"}

        body = {"status": {"replicas": 1, "conditions": [condition]}}
        path = f"{DEPLOYMENTS}/web/status"
        _, told = await call("PATCH", path, body, patch="merge-patch", fieldManager="alice")

        mine = {".": {}, "f:status": {}, "f:type": {}}
        conditions = {".": {}, 'k:{"type":"Available"}': mine}
        last = told["metadata"]["managedFields"][-1]
        assert (last["manager"], last["subresource"]) == ("alice", "status")
        assert last["fieldsV1"] == {"f:status": {"f:conditions": conditions, "f:replicas": {}}}

    async def test_scaling_owns_the_number_alone(self, call):
        await call("POST", DEPLOYMENTS, deployment(), fieldManager="alice")
        path = f"{DEPLOYMENTS}/web/scale"
        await call("PATCH", path, {"spec": {"replicas": 3}}, patch="merge-patch", fieldManager="bob")

        _, seen = await call("GET", f"{DEPLOYMENTS}/web")

        first, second = seen["metadata"]["managedFields"]
        assert "f:replicas" not in first["fieldsV1"]["f:spec"]
        assert (second["manager"], second["subresource"]) == ("bob", "scale")
        assert second["fieldsV1"] == {"f:spec": {"f:replicas": {}}}

    async def test_more_than_ten_managers_are_not_told_apart(self, call):
        await call("POST", MAPS, config_map(k="0"), fieldManager="m00")
        for i in range(1, 12):
            change = {"data": {f"k{i:02}": "1"}}
            _, now = await call("PATCH", f"{MAPS}/one", change, patch="merge-patch", fieldManager=f"m{i:02}")

        entries = owned(now)
        assert len(entries) == 10
        ancient = next(fields for name, _, fields in entries if name == "ancient-changes")
        assert ancient == {"f:data": {".": {}, "f:k": {}, "f:k01": {}, "f:k02": {}}}

    async def test_the_clusters_own_writes_leave_the_entries_alone(self, api, call):
        _, made = await call("POST", MAPS, config_map(a="1"), fieldManager="alice")

        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api.socket_path))) as inside:
            await inside.put(f"http://inside{MAPS}/one", json=config_map(a="2"))
            await inside.post(f"http://inside{MAPS}", json=config_map("two", a="1"))

        assert owned((await call("GET", f"{MAPS}/one"))[1]) == owned(made)
        assert owned((await call("GET", f"{MAPS}/two"))[1]) == []


class TestSentByTheClient:
    async def test_an_empty_entry_forgets_all_owners(self, call):
        _, made = await call("POST", MAPS, config_map(a="1"), fieldManager="alice")
        made["metadata"]["managedFields"] = [{}]

        status, reset = await call("PUT", f"{MAPS}/one", made, fieldManager="alice")

        assert (status, owned(reset)) == (200, [])

    async def test_an_empty_list_forgets_nobody(self, call):
        _, made = await call("POST", MAPS, config_map(a="1"), fieldManager="alice")
        sent = {**made, "metadata": {**made["metadata"], "managedFields": []}}

        _, kept = await call("PUT", f"{MAPS}/one", sent)

        assert kept["metadata"]["managedFields"] == made["metadata"]["managedFields"]

    async def test_a_field_can_be_moved_from_an_updater_to_an_applier(self, call):
        _, made = await call("POST", MAPS, config_map(a="1", b="1"), fieldManager="kubectl-client-side-apply")
        (entry,) = made["metadata"]["managedFields"]

        moved = [{**entry, "manager": "kubectl", "operation": "Apply"}]
        change = [{"op": "replace", "path": "/metadata/managedFields", "value": moved}]
        _, now = await call("PATCH", f"{MAPS}/one", change, patch="json-patch")
        assert now["metadata"]["managedFields"] == moved
        status, less = await applied(call, f"{MAPS}/one", config_map(a="1"), "kubectl")

        assert (status, less["data"]) == (200, {"a": "1"})

    @pytest.mark.parametrize(
        "wrong",
        [
            {"operation": "Seize"},
            {"fieldsType": "FieldsV2"},
            {"fieldsV1": {"f:data": {"k:{": {}}}},
            {"fieldsV1": {"data": {}}},
            {"manager": ""},
            {"apiVersion": ""},
        ],
    )
    async def test_what_cannot_be_read_counts_as_not_sent(self, call, wrong):
        _, made = await call("POST", MAPS, config_map(a="1"), fieldManager="alice")
        right = {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
        odd = [{**right, **wrong}]

        _, kept = await call("PUT", f"{MAPS}/one", {**made, "metadata": {**made["metadata"], "managedFields": odd}})

        assert kept["metadata"]["managedFields"] == made["metadata"]["managedFields"]


class TestApply:
    async def test_refuses_to_change_what_an_updater_owns(self, call):
        await call("POST", MAPS, config_map(a="1", b="1"), fieldManager="alice")

        status, refusal = await applied(call, f"{MAPS}/one", config_map(a="2", b="2"), "bob")

        assert (status, refusal["reason"]) == (409, "Conflict")
        who = 'conflicts with "alice" using v1:'
        assert refusal["message"] == f"Apply failed with 2 conflicts: {who}\n- .data.a\n- .data.b"
        assert [cause["message"] for cause in refusal["details"]["causes"]] == ['conflict with "alice" using v1'] * 2
        assert (await call("GET", f"{MAPS}/one"))[1]["data"] == {"a": "1", "b": "1"}

    async def test_force_takes_fields_from_an_updater(self, call):
        await call("POST", MAPS, config_map(a="1", b="1"), fieldManager="alice")

        _, taken = await applied(call, f"{MAPS}/one", config_map(a="2"), "bob", force="true")

        assert taken["data"] == {"a": "2", "b": "1"}
        assert owned(taken) == [
            ("bob", "Apply", {"f:data": {"f:a": {}}}),
            ("alice", "Update", {"f:data": {".": {}, "f:b": {}}}),
        ]

    async def test_what_was_there_before_anybody_applied_has_an_owner_then(self, api, call):
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(api.socket_path))) as inside:
            await inside.post(f"http://inside{MAPS}", json=config_map(a="1", b="1"))

        refused, refusal = await applied(call, f"{MAPS}/one", config_map(a="2"), "bob")
        _, taken = await applied(call, f"{MAPS}/one", config_map(a="2"), "bob", force="true")

        assert refused == 409
        assert (
            refusal["message"] == 'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a'
        )
        assert owned(taken)[1] == ("before-first-apply", "Update", {"f:data": {".": {}, "f:b": {}}})

    async def test_leaves_out_a_container_that_nobody_wants_any_more(self, call):
        body = deployment()
        second = {"name": "side", "image": "busybox:1"}
        body["spec"]["template"]["spec"]["containers"].append(second)
        await applied(call, f"{DEPLOYMENTS}/web", body, "alice")

        _, now = await applied(call, f"{DEPLOYMENTS}/web", deployment(), "alice")

        assert [each["name"] for each in now["spec"]["template"]["spec"]["containers"]] == ["main"]

    async def test_what_is_applied_to_a_status_leaves_the_rest(self, call):
        await call("POST", DEPLOYMENTS, deployment(), fieldManager="alice")
        head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}

        path = f"{DEPLOYMENTS}/web/status"
        _, now = await applied(call, path, {**head, "spec": {"replicas": 9}, "status": {"replicas": 2}}, "bob")

        entry = now["metadata"]["managedFields"][0]
        assert (now["spec"]["replicas"], now["status"]) == (1, {"replicas": 2})
        assert (entry["manager"], entry["subresource"]) == ("bob", "status")
        assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"data": {"a": 1}}, ".data.a: expected string, got &value.valueUnstructured{Value:1}"),
            ({"data": "x"}, ".data: expected map, got &{x}"),
            ({"immutable": "yes"}, ".immutable: expected boolean, got &{yes}"),
            (
                {"metadata": {"name": "one", "finalizers": ["a.b/c", "a.b/c"]}},
                '.metadata.finalizers: duplicate entries for key [="a.b/c"]',
            ),
        ],
    )
    async def test_refuses_what_has_another_type(self, call, change, told):
        status, refusal = await applied(call, f"{MAPS}/one", {**config_map(), **change}, "alice")

        head = "failed to create typed patch object (/one; /v1, Kind=ConfigMap): "
        assert (status, refusal["message"]) == (500, head + told)
        assert (await call("GET", f"{MAPS}/one"))[0] == 404


class TestSets:
    @pytest.mark.parametrize(
        ("first", "second", "both", "rest", "common"),
        [
            ({"f:a": LEAF}, {"f:b": LEAF}, {"f:a": LEAF, "f:b": LEAF}, {"f:a": LEAF}, LEAF),
            ({"f:a": LEAF}, {"f:a": {"f:b": LEAF}}, {"f:a": {".": {}, "f:b": LEAF}}, {"f:a": LEAF}, LEAF),
            ({"f:a": {".": {}, "f:b": LEAF}}, {"f:a": LEAF}, {"f:a": {".": {}, "f:b": LEAF}}, {"f:a": {"f:b": LEAF}},
             {"f:a": LEAF}),
            ({"f:a": {"f:b": LEAF, "f:c": LEAF}}, {"f:a": {"f:b": LEAF}}, {"f:a": {"f:b": LEAF, "f:c": LEAF}},
             {"f:a": {"f:c": LEAF}}, {"f:a": {"f:b": LEAF}}),
            (LEAF, {"f:a": LEAF}, {"f:a": LEAF}, LEAF, LEAF),
        ],
    )  # fmt: skip
    async def test_are_joined_subtracted_and_cut(self, first, second, both, rest, common):
        assert fieldsets.union(first, second) == both
        assert fieldsets.difference(first, second) == rest
        assert fieldsets.intersection(first, second) == common

    async def test_of_undescribed_values_hold_lists_whole(self):
        old, new = {"a": [1], "b": {"c": 1, "d": 2}}, {"a": [2], "b": {"c": 1, "e": {}}}

        assert fieldsets.compare(old, new, shapes.ANY) == ({"f:a": {}, "f:b": {"f:e": {}}}, {"f:b": {"f:d": {}}})
