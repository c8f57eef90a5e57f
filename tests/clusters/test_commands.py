import io

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.models import AuditEntry
from apps.clusters.models import Cluster

from .kubeconfigs import kubeconfig


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config"
    path.write_text(kubeconfig())
    return path


def register(slug, file, *options):
    out, err = io.StringIO(), io.StringIO()
    call_command("register_cluster", slug, "--kubeconfig", str(file), *options, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


@pytest.mark.django_db
class TestRegisterCluster:
    def test_registers_and_probes(self, file):
        said = register("main", file)

        made = Cluster.objects.get()
        assert said == "Cluster main is registered: Kubernetes v1.36.2.\n"
        assert (made.slug, made.name, made.health, made.is_default) == ("main", "main", "healthy", True)

    def test_again_changes_nothing(self, file):
        register("main", file)
        entries = AuditEntry.objects.count()

        register("main", file)

        assert Cluster.objects.count() == 1
        assert AuditEntry.objects.count() == entries

    def test_takes_a_new_kubeconfig_and_the_default(self, file):
        register("one", file)
        register("two", file)
        assert Cluster.objects.get(is_default=True).slug == "one"

        file.write_text(kubeconfig(user={"token": "fresh"}))
        register("two", file, "--default")

        assert Cluster.objects.get(is_default=True).slug == "two"
        assert "fresh" in Cluster.objects.get(slug="two").kubeconfig

    def test_a_bad_kubeconfig_is_one_sentence(self, file):
        file.write_text(kubeconfig(user={"exec": {"command": "id"}}))

        with pytest.raises(CommandError, match="running a program"):
            register("main", file)

        assert not Cluster.objects.exists()

    def test_a_missing_file_is_one_sentence(self, tmp_path):
        with pytest.raises(CommandError, match="cannot be read"):
            register("main", tmp_path / "nowhere")


@pytest.mark.django_db
class TestWatchCluster:
    def test_does_not_wait_for_a_cluster_nobody_knows(self, cluster_row):
        with pytest.raises(CommandError, match=r"There is no cluster 'mian'\. Known: default"):
            call_command("watch_cluster", "--cluster", "mian")
