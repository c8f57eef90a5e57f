from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.clusters import services
from apps.clusters.choices import Health
from apps.clusters.gateway import inline_files
from apps.clusters.models import Cluster
from apps.core.errors import DomainError, InvalidInput


class Command(BaseCommand):
    help = "Register a cluster, or give a registered one a new kubeconfig, and probe it. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--kubeconfig", required=True, metavar="FILE")
        parser.add_argument("--name", default="", help="what people read; the slug when not given")
        parser.add_argument("--default", action="store_true", help="where jobs go that name no cluster")
        parser.add_argument("--no-probe", action="store_true", help="leave the first look to the next tick")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            cluster = self._register(options)
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from None
        if options["no_probe"]:
            self.stdout.write(f"Cluster {cluster.slug} is registered.")
            return
        self._probe(cluster)

    def _register(self, options: dict[str, Any]) -> Cluster:
        slug, name = options["slug"], options["name"] or options["slug"]
        kubeconfig = _read(Path(options["kubeconfig"]))
        cluster = Cluster.objects.filter(slug=slug).first()
        # The first cluster is the default one: jobs that name none must go somewhere.
        is_default = options["default"] or not Cluster.objects.filter(is_default=True).exists()
        if cluster is None:
            return services.register_cluster(slug=slug, name=name, kubeconfig=kubeconfig, is_default=is_default)
        cluster = services.update_kubeconfig(cluster=cluster, kubeconfig=kubeconfig)
        wanted = (options["name"] or cluster.name, is_default or cluster.is_default)
        if (cluster.name, cluster.is_default) != wanted:
            cluster = services.update_cluster(cluster=cluster, name=wanted[0], is_default=wanted[1])
        return cluster

    def _probe(self, cluster: Cluster) -> None:
        try:
            probed = services.probe_cluster(cluster_id=cluster.pk) or cluster
        except DomainError as refusal:
            raise CommandError(str(refusal)) from None
        if probed.health == Health.HEALTHY:
            self.stdout.write(f"Cluster {probed.slug} is registered: Kubernetes {probed.version}.")
        else:
            self.stderr.write(f"Cluster {probed.slug} is registered but {probed.health}: {probed.health_message}")


def _read(path: Path) -> str:
    try:
        return inline_files(path.read_text(), path.resolve().parent)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from None
