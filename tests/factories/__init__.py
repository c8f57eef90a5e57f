"""Rows for tests, as a person would have made them."""

import factory

from apps.accounts.models import User
from apps.clusters.models import Cluster, ResourceGroup
from apps.jobtemplates.models import JobTemplate, TemplateVersion
from apps.projects.models import Project


class UserFactory(factory.django.DjangoModelFactory):
    username = factory.Sequence("person{}".format)

    class Meta:
        model = User


class ProjectFactory(factory.django.DjangoModelFactory):
    slug = factory.Sequence("project-{}".format)
    name = factory.Sequence("Project {}".format)

    class Meta:
        model = Project


class ClusterFactory(factory.django.DjangoModelFactory):
    slug = factory.Sequence("cluster-{}".format)
    name = factory.Sequence("Cluster {}".format)
    kubeconfig = factory.Sequence("fake-{}".format)
    health = "healthy"
    version = "v1.36.2"
    capabilities = ["batch/v1", "networking.k8s.io/v1", "v1"]
    has_default_storage = True

    class Meta:
        model = Cluster


class ResourceGroupFactory(factory.django.DjangoModelFactory):
    cluster = factory.SubFactory(ClusterFactory)
    slug = "default"
    name = "Default"

    class Meta:
        model = ResourceGroup


class TemplateVersionFactory(factory.django.DjangoModelFactory):
    """A template `echo` whose one parameter is printed."""

    number = 1
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "default": "hello"}},
        "additionalProperties": False,
    }
    body = {"image": "busybox", "command": ["echo", {"$param": "text"}]}

    class Meta:
        model = TemplateVersion

    @factory.lazy_attribute
    def template(self):
        return JobTemplate.objects.get_or_create(slug="echo", defaults={"name": "Echo"})[0]
