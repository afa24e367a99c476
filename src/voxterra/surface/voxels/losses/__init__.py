"""Losses of the voxel engine on rendered images. One module a family; all return scalars.

They are differentiable by autograd with respect to the rendered channels (`pixels.Pixels`), run on
the CPU and on CUDA without reading a value back, and are 0 with zero gradients where a view has no
valid pixel.
"""
