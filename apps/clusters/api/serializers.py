from rest_framework import serializers

from apps.clusters.models import Cluster, ResourceGroup


class ResourceGroupSerializer(serializers.ModelSerializer):
    class Meta:
        model = ResourceGroup
        fields = ["slug", "name", "is_default", "node_selector"]


class GpuTypeSerializer(serializers.Serializer):
    name = serializers.CharField(help_text="As written in resources: 1(NAME). Empty when the nodes do not say.")
    total = serializers.IntegerField()
    usable = serializers.IntegerField(help_text="On nodes that are ready and schedulable, in use or not.")
    nodes = serializers.IntegerField()


class ClusterSerializer(serializers.ModelSerializer):
    """What people need to choose a cluster. Where it is and how it is reached stays with the operators."""

    gpu_types = GpuTypeSerializer(many=True, read_only=True)
    resource_groups = ResourceGroupSerializer(many=True, read_only=True)
    runs_local_processes = serializers.BooleanField(
        read_only=True, help_text="Images are names only: programs run as processes of the host."
    )

    class Meta:
        model = Cluster
        fields = [
            "slug",
            "name",
            "is_default",
            "health",
            "probed_at",
            "version",
            "capabilities",
            "has_default_storage",
            "runs_local_processes",
            "gpu_types",
            "resource_groups",
        ]
