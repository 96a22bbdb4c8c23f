"""What the flex template's launcher runs: the pipeline that the image was built for, with the launcher's arguments."""

import os
import sys

from hir_transforms.pipelines.__main__ import main

arguments = sys.argv[1:]
image = os.environ.get("HIR_IMAGE")
if image and not any(argument.startswith("--sdk_container_image") for argument in arguments):
    arguments.append(f"--sdk_container_image={image}")
sys.exit(main([os.environ["HIR_PIPELINE"], *arguments]))
