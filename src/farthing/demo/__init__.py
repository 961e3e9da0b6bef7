"""The main job on real data: a LightGBM teacher, its students compressed, judged and timed."""
