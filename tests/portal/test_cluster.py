"""The cluster of laptop mode, reached by a kubeconfig of the operator's own."""

import pytest
import yaml

from apps.clusters.models import Cluster
from apps.core.errors import InvalidInput
from apps.portal import laptop
from tests.clusters.kubeconfigs import kubeconfig

pytestmark = pytest.mark.django_db


def test_a_kubeconfig_that_names_files_is_read_with_them(tmp_path):
    """As minikube writes it: paths in place of data, here relative to the kubeconfig."""
    (tmp_path / "token").write_text("from-a-file\n")
    path = tmp_path / "config"
    path.write_text(kubeconfig(user={"token": None, "tokenFile": "token"}))

    cluster = laptop.register_cluster(path)

    stored = yaml.safe_load(Cluster.objects.get(slug="default").kubeconfig)
    assert stored["users"] == [{"name": "u", "user": {"token": "from-a-file"}}]
    assert cluster.health == "healthy"


def test_one_that_runs_a_program_is_refused(tmp_path):
    path = tmp_path / "config"
    path.write_text(kubeconfig(user={"token": None, "exec": {"command": "aws"}}))

    with pytest.raises(InvalidInput, match="running a program"):
        laptop.register_cluster(path)

    assert not Cluster.objects.exists()
