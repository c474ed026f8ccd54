"""What `AutoProcessor` and `AutoTokenizer` read beside the weights: processor configs, chat template, `<video>`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from mmssr_jax.convert.preprocessor import FILE as PREPROCESSOR
from mmssr_jax.convert.preprocessor import to_preprocessor
from mmssr_jax.convert.read_config import LlavaConfig
from mmssr_jax.core import files

IMAGE, VIDEO = "<image>", "<video>"

# The turns as the model was trained on them; each part of a message is on a line of its own.
_CONTENT = """\
{%- macro text(content) -%}
{%- if content is string -%}{{- content -}}{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'image' -%}{{- '<image>' -}}
{%- elif part['type'] == 'video' -%}{{- '<video>' -}}
{%- else -%}{{- part['text'] -}}{%- endif -%}
{%- if not loop.last -%}{{- '\\n' -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
"""
_CHATML = """\
{%- if not messages or messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nSYSTEM<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + text(message['content']) + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
_VICUNA = """\
{{- '<s>' -}}
{%- if not messages or messages[0]['role'] != 'system' -%}{{- 'SYSTEM ' -}}{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}{{- text(message['content']) + ' ' -}}
{%- elif message['role'] == 'user' -%}{{- 'USER: ' + text(message['content']) + ' ' -}}
{%- else -%}{{- 'ASSISTANT: ' + text(message['content']) + '</s>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""


def chat_template(config: LlavaConfig, *, system: str) -> str:
    """The Jinja template of a model's conversations; `system` is its default system message."""
    template = _VICUNA if config.model.template == "vicuna" else _CHATML
    return _CONTENT + template.replace("SYSTEM", system.replace("'", "\\'"))


def complete_tokenizer(folder: Path, config: LlavaConfig, *, template: str) -> int | None:
    """Gives the tokenizer that was saved in `folder` the chat template, and `<video>` if the model has room for it.

    Returns:
      The id of `<video>`; None for LLaVA-1.5, and where every embedding belongs to another token.
    """
    fast = transformers.AutoTokenizer.from_pretrained(str(folder))
    known = fast.get_vocab()
    if config.anyres is not None and VIDEO not in known and max(known.values()) + 1 < config.model.decoder.vocab:
        fast.add_special_tokens({"extra_special_tokens": [VIDEO]}, replace_extra_special_tokens=False)
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast.get_vocab().get(VIDEO) if config.anyres is not None else None


def write_processor(folder: Path, config: LlavaConfig) -> None:
    """Writes the configs of the processor and of its parts for images and videos."""
    images = to_preprocessor(config)
    files.write_json(folder / PREPROCESSOR, images)
    files.write_json(folder / "processor_config.json", _processor(config))
    if config.anyres is not None:
        shared = ("do_convert_rgb", "do_normalize", "do_rescale", "do_resize", "image_mean", "image_std",
                  "processor_class", "resample", "rescale_factor", "size")  # fmt: skip
        videos = {key: images[key] for key in shared} | {"video_processor_type": "LlavaOnevisionVideoProcessor"}
        files.write_json(folder / "video_preprocessor_config.json", videos)


def _processor(config: LlavaConfig) -> dict[str, Any]:
    vision = config.model.vision
    if config.anyres is None:
        return {
            "image_token": IMAGE,
            "num_additional_image_tokens": int(vision.class_token),
            "patch_size": vision.patch_size,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": "default",
        }
    return {
        "image_token": IMAGE,
        "num_image_tokens": vision.tokens,
        "processor_class": "LlavaOnevisionProcessor",
        "video_token": VIDEO,
        "vision_aspect_ratio": f"anyres_max_{config.anyres.max_tiles}",
        "vision_feature_select_strategy": "full",
    }
