"""Retries without pauses between them."""

import pytest

from decametre.sentinel2 import documents


@pytest.fixture(autouse=True)
def immediate_retries(monkeypatch):
    monkeypatch.setattr(documents, "RETRIES", documents.RETRIES.new(backoff_factor=0))
