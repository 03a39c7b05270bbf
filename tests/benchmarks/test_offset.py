from benchmarks.offset import score_offsets, table


def test_each_product_is_checked_with_three_offsets(sample_item):
    scores = score_offsets([sample_item])
    assert [score.verdict for score in scores] == ["agrees", "contradicts", "contradicts"]
    assert table(scores).splitlines()[2:5] == [
        "| +0 | 1 | 0 | 0 |",
        "| +0.1 | 0 | 0 | 1 |",
        "| -0.1 | 0 | 0 | 1 |",
    ]
