import pytest

# Shipped with the package, so pytest would not look into its asserts by itself.
pytest.register_assert_rewrite("sandboxes.conformance")
