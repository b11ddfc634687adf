"""Where the memory of an expert window comes from.

A provider gives every rank of a group one region, mapped into every rank, and the address of each peer's region as
this rank sees it. `contract` says what each provider does; `shm` serves CPU; `symm` and `vmm` serve Ascend and share
`npu`; `choice` picks one by its name. Code that needs a window's memory imports `choice` or `contract`. No provider
imports `choice`.
"""
