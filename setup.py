"""Compile the optional kernels, which pyproject.toml cannot express."""

import runpy

from setuptools import Extension, setup

build = runpy.run_path("models/native/build.py")
setup(
    ext_modules=[
        Extension(
            "models.native._heed",
            [f"models/native/{name}" for name in build["SOURCES"]],
            define_macros=build["macros"](),
            extra_compile_args=[*build["FLAGS"]],
            libraries=["m"],
            optional=True,  # everything runs without them
        )
    ]
)
