"""The way of a movie: transfer → pre-processing → 2D classification, each a track of its own.

1. transfer (`transfer`, `finding`, `copying`): found, settled and whole; linked, copied or moved.
2. preprocess (`preprocess`, `process_movie` and its `motion_stage`, `ctf_stage`, `picking_stage`): gain,
   align, sum, CTF, picks, previews.
3. classify (`classify`, `classify_particles`, `class2d_boxes`): a round of 2D classification when enough
   particles came.

`runner` is the program that runs them; `export` writes what RELION reads.
"""
