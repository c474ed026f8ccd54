import httpx2
import openai
import pytest

from mmssr_jax.judge.api.client_headers import client_headers
from mmssr_jax.judge.api.config import ApiConfig


@pytest.mark.parametrize(
    ("base_url", "project", "gateway"),
    [
        (None, "proj-mine", "s3cret"),
        ("https://eu.api.openai.com/v1", "proj-mine", "s3cret"),
        ("https://gateway.example/v1", None, None),
        ("https://api.openai.com.example/v1", None, None),
    ],
)
def test_headers_of_the_environment_are_for_openai(monkeypatch, base_url, project, gateway):
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: s3cret")
    sent = []

    def answer(request):
        sent.append(request.headers)
        return httpx2.Response(200, json={"object": "list", "data": []})

    config = ApiConfig("m", base_url=base_url)
    client = openai.OpenAI(
        api_key="sk-0",
        base_url=config.url,
        default_headers=client_headers(config, "sk-0"),
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )
    client.models.list()
    client.with_options(max_retries=0).models.list()  # a copy reads the environment again
    assert [h.get("openai-project") for h in sent] == [project] * 2
    assert [h.get("x-gateway") for h in sent] == [gateway] * 2
    assert [h["authorization"] for h in sent] == ["Bearer sk-0"] * 2
