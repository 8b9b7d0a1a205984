"""Accuracy and cost on simulated data with known truth, beside other programs where they are installed.

- `session`: whole sessions over the simulated microscope, as a user runs them.
- `motion`: motion correction alone, set by set (`motion_sets`), each run a fresh process (`motion_job`).
- `ctf`: fits of simulated Thon rings against the truth.
- `picking`, `class2d`: against the truth of simulated micrographs and particle stacks.
- `device`: the kernels on a GPU, beside its limits and the CPU.
- `cost`, `report`: CPU-seconds and memory of a process tree; the table and the JSON.
"""
