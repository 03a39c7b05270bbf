import pytest

from decametre.errors import ModelError
from decametre.superres.models.registry import shipped_cards
from decametre.training.model_record import check_same_network, init_provenance


def test_provenance_of_the_initial_model():
    card = shipped_cards()["native_2x"]
    assert init_provenance(card) == {"name": "native_2x", "checksum": card.checksum}
    assert init_provenance(None) is None


def test_another_network_is_an_error():
    cards = shipped_cards()
    check_same_network("native_2x", cards["native_2x"], cards["native_2x"], ("config",))
    with pytest.raises(ModelError, match="--init native_2x: its architecture is 'adaptive'"):
        check_same_network("native_2x", cards["native_2x"], cards["bicubic_2x"], ("architecture",))
