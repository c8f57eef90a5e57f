import pytest

from apps.clusters.quantities import Resources
from apps.core.errors import InvalidInput


def test_what_is_written_is_read_back():
    asked = Resources.parse({"cpu": "500m~2", "memory": "10Gi", "gpu": "2(A100)"})

    assert (asked.cpu.request, asked.cpu.limit, asked.memory.limit) == ("500m", "2", "10Gi")
    assert (asked.gpu_count, asked.gpu_type) == (2, "A100")
    assert Resources.parse(asked.as_dict()) == asked


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("cpu", "-1"),
        ("cpu", "2~1"),
        ("cpu", "0"),
        ("cpu", "\u0663"),  # a digit, but none that Kubernetes reads
        ("cpu", True),
        ("memory", "1"),
        ("memory", "1e9999"),
        ("gpu", "1.5"),
        ("gpu", "\u0663"),
        ("gpu", "1(A100) nvidia"),
        ("disk", "1Gi"),
    ],
)
def test_what_kubernetes_would_not_take_is_refused_here(field, text):
    with pytest.raises(InvalidInput) as refusal:
        Resources.parse({field: text})

    assert list(refusal.value.fields) == [f"resources.{field}"]
