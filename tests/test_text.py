from decametre.text import counted


def test_nouns_follow_their_number():
    assert counted(1, "product") == "1 product"
    assert counted(0, "scene") == "0 scenes"
    assert counted(2000, "patch") == "2,000 patches"
