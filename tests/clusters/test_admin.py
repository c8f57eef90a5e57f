import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import AuditEntry
from apps.clusters.gateway import Unavailable
from apps.clusters.models import Cluster, Node, ResourceGroup
from tests.factories import ClusterFactory, UserFactory

from .kubeconfigs import kubeconfig

ADD = "admin:clusters_cluster_add"
LIST = "admin:clusters_cluster_changelist"
CHANGE = "admin:clusters_cluster_change"
NODES = {f"nodes-{key}_FORMS": "0" for key in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}


def signed_in(role):
    client = Client()
    client.force_login(UserFactory(username=f"the-{role}", platform_role=role))
    return client


@pytest.fixture
def operator(db):
    return signed_in("platform_admin")


@pytest.fixture
def main(db):
    return ClusterFactory(slug="main", name="Main", kubeconfig=kubeconfig(), health_message="all <b>well</b>")


class TestAdd:
    def test_registers_through_the_service(self, operator):
        given = {"slug": "new", "name": "New", "is_default": "on", "kubeconfig_text": kubeconfig(), **NODES}

        answer = operator.post(reverse(ADD), given)

        assert answer.status_code == 302
        made = Cluster.objects.get()
        assert (made.slug, made.kubeconfig.strip(), made.is_default) == ("new", kubeconfig().strip(), True)
        assert made.resource_groups.get().slug == "default"
        assert AuditEntry.objects.filter(action="cluster.register").count() == 1

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("kubeconfig_text", "", "required"),
            ("kubeconfig_text", "a: [", "Not valid YAML"),
            ("kubeconfig_text", kubeconfig(user={"exec": {"command": "id"}}), "running a program"),
            ("slug", "Not a slug", "valid"),
            ("name", "", "required"),
        ],
    )
    def test_says_what_is_wrong_on_the_field_and_makes_nothing(self, operator, field, value, said):
        given = {"slug": "new", "name": "New", "kubeconfig_text": kubeconfig(), **NODES, field: value}

        answer = operator.post(reverse(ADD), given)

        assert answer.status_code == 200
        errors = answer.context["adminform"].form.errors
        assert [*errors] == [field]
        assert said in str(errors[field])
        assert not Cluster.objects.exists()

    def test_does_not_send_back_what_was_typed(self, operator):
        given = {"slug": "Not a slug", "name": "New", "kubeconfig_text": kubeconfig(), **NODES}

        assert "s3cret-token" not in operator.post(reverse(ADD), given).content.decode()


class TestChange:
    def test_never_shows_the_kubeconfig(self, operator, main):
        for path in (reverse(LIST), reverse(CHANGE, args=[main.pk])):
            text = operator.get(path).content.decode()
            assert "s3cret-token" not in text
            assert "cluster.example" not in text
            assert "<b>well</b>" not in text

    def test_an_empty_kubeconfig_keeps_the_stored_one(self, operator, main):
        given = {"name": "Renamed", "kubeconfig_text": "", **NODES}

        answer = operator.post(reverse(CHANGE, args=[main.pk]), given)

        assert answer.status_code == 302
        main.refresh_from_db()
        assert (main.name, main.kubeconfig, main.slug) == ("Renamed", kubeconfig(), "main")
        assert [entry.action for entry in AuditEntry.objects.filter(action__startswith="cluster.")] == [
            "cluster.update"
        ]

    def test_a_new_kubeconfig_replaces_it_and_is_not_audited(self, operator, main):
        text = kubeconfig(user={"token": "an0ther-token"})

        operator.post(reverse(CHANGE, args=[main.pk]), {"name": "Main", "kubeconfig_text": text, **NODES})

        main.refresh_from_db()
        assert "an0ther-token" in main.kubeconfig
        entry = AuditEntry.objects.get(action="cluster.update_kubeconfig")
        assert "an0ther-token" not in str(vars(entry))

    def test_a_cluster_becomes_the_default_one(self, operator, main):
        ClusterFactory(slug="old", is_default=True)

        answer = operator.post(
            reverse(CHANGE, args=[main.pk]), {"name": "Main", "is_default": "on", "kubeconfig_text": "", **NODES}
        )

        assert answer.status_code == 302
        assert list(Cluster.objects.filter(is_default=True).values_list("slug", flat=True)) == ["main"]

    def test_cannot_be_deleted(self, operator, main):
        assert (
            operator.post(reverse("admin:clusters_cluster_delete", args=[main.pk]), {"post": "yes"}).status_code == 403
        )

        assert Cluster.objects.exists()


class TestActions:
    def act(self, client, action, *rows):
        given = {"action": action, "_selected_action": [row.pk for row in rows]}
        return client.post(reverse(LIST), given, follow=True)

    def test_disable_and_enable(self, operator, main):
        self.act(operator, "disable", main)
        main.refresh_from_db()
        assert not main.is_enabled

        self.act(operator, "enable", main)
        main.refresh_from_db()
        assert main.is_enabled

    def test_probe_shows_what_it_found(self, operator, cluster_row, cluster):
        cluster.go_down(Unavailable("no route to host"))

        answer = self.act(operator, "probe", cluster_row)

        assert "no route to host" in answer.content.decode()
        cluster_row.refresh_from_db()
        assert cluster_row.health == "unreachable"


class TestRoles:
    def test_a_quota_manager_changes(self, main):
        client = signed_in("quota_manager")

        client.post(reverse(CHANGE, args=[main.pk]), {"name": "Theirs", "kubeconfig_text": "", **NODES})

        main.refresh_from_db()
        assert main.name == "Theirs"

    def test_an_auditor_reads_and_changes_nothing(self, main):
        client = signed_in("auditor")

        assert client.get(reverse(LIST)).status_code == 200
        page = client.get(reverse(CHANGE, args=[main.pk])).content.decode()
        assert "kubeconfig_text" not in page
        assert "s3cret-token" not in page
        given = {"name": "Theirs", "kubeconfig_text": "", **NODES}
        assert client.post(reverse(CHANGE, args=[main.pk]), given).status_code == 403
        assert client.get(reverse(ADD)).status_code == 403
        client.post(reverse(LIST), {"action": "disable", "_selected_action": [main.pk]})
        main.refresh_from_db()
        assert (main.name, main.is_enabled) == ("Main", True)

    def test_others_stay_outside(self, main):
        assert signed_in("").get(reverse(LIST)).status_code == 302


class TestNeighbours:
    def test_nodes_are_read_only(self, operator, main):
        node = Node.objects.create(cluster=main, name="a", allocatable={"cpu": "8"})

        assert operator.get(reverse("admin:clusters_node_changelist")).status_code == 200
        assert operator.post(reverse("admin:clusters_node_change", args=[node.pk]), {"name": "b"}).status_code == 403
        assert "a" in operator.get(reverse(CHANGE, args=[main.pk])).content.decode()
        assert Node.objects.get().name == "a"

    def test_a_resource_group_is_made_and_changed_by_the_service(self, operator, main):
        given = {"cluster": main.pk, "slug": "train", "name": "Training", "node_selector": '{"pool": "train"}'}

        assert operator.post(reverse("admin:clusters_resourcegroup_add"), given).status_code == 302
        group = ResourceGroup.objects.get()
        change = reverse("admin:clusters_resourcegroup_change", args=[group.pk])
        assert operator.post(change, {"name": "T", "node_selector": '{"pool": 5}'}).status_code == 200
        assert operator.post(change, {"name": "T", "node_selector": '{"pool": "b"}'}).status_code == 302

        group.refresh_from_db()
        assert (group.slug, group.name, group.node_selector) == ("train", "T", {"pool": "b"})
        assert AuditEntry.objects.filter(action="resource_group.save").count() == 2

    def test_tenant_namespaces_are_listed(self, operator, main):
        assert operator.get(reverse("admin:quotas_tenantnamespace_changelist")).status_code == 200
        assert operator.get(reverse("admin:clusters_resourcegroup_changelist")).status_code == 200
