"""The most that readers take into memory at a time: a small file can stand for many GiB (sparse or compressed).

The limit of one encoded image is `core.sample.MAX_IMAGE_BYTES`.
"""

MAX_RECORD_BYTES = 64 << 20
"""One record's text: an element or a line of a JSON file, a text member of a shard."""

MAX_SAMPLE_BYTES = 1 << 30
"""The members of a shard that make one sample, together."""

MAX_ROW_GROUP_BYTES = 16 << 30
"""One row group of a Parquet file, uncompressed."""
