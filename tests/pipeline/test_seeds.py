from lmcot_cli.pipeline.seeds import sample_seed


def test_a_seed_is_the_same_on_every_machine():
    assert sample_seed(0, "q1", 0) == 1263671035


def test_run_row_and_sample_each_change_the_seed():
    seeds = {
        sample_seed(run, row, index) for run in range(3) for row in ("a", "b", "1") for index in range(50)
    }

    assert len(seeds) == 3 * 3 * 50


def test_seeds_are_31_bits_of_which_all_are_used():
    seeds = [sample_seed(0, str(row), 0) for row in range(2000)]

    assert all(0 <= seed < 2**31 for seed in seeds)
    assert max(seeds) > 0.99 * 2**31
    assert min(seeds) < 0.01 * 2**31
