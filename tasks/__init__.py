"""The steps of the mill: pure functions over Arrow data, each with a thin Prefect task above it."""

from tasks import quiet as quiet  # first: its settings must precede every other import
