"""Three ways to Kubeflow Pipelines: which one is taken, with whose credentials."""

import pytest
from support.fake_kubernetes import FakeKubernetes
from support.http_server import FakeServer

from fedstream.errors import ClusterAway, ClusterError, UsageError
from fedstream.kubeflow.api import PipelinesApi
from fedstream.kubeflow.connection import connect

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


class Api(FakeServer):
    """A fake of Kubeflow's API that only says how it is; `more` is what else it says."""

    def __init__(self, **more):
        super().__init__()
        self.more = more

    def answer(self, method, path, query, body):
        return {"multi_user": False, "tag_name": path} | self.more


def test_an_address_goes_before_all_else():
    found = connect("http://kubeflow.example.com/pipeline/", env=POD | {"KFP_TOKEN": "t"})
    assert found.client.configuration.host == "http://kubeflow.example.com/pipeline"
    assert found.client.configuration.get_api_key_with_prefix("authorization") == "Bearer t"


def test_kubeflow_s_own_variables_name_api_and_ui():
    found = connect(env={"KF_PIPELINES_ENDPOINT": "http://api", "KF_PIPELINES_UI_ENDPOINT": "http://ui/"})
    assert (found.client.configuration.host, found.ui) == ("http://api", "http://ui")


def test_a_pod_goes_straight_to_the_service_and_reads_its_token_again_and_again(tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    found = connect(kubeflow_namespace="kf", env=POD | {"KF_PIPELINES_SA_TOKEN_PATH": str(path)})
    assert found.client.configuration.host == "http://ml-pipeline.kf:8888"
    assert found.ui == ""
    assert found.client.configuration.get_api_key_with_prefix("authorization") == "Bearer first"
    path.write_text("second")
    assert found.client.configuration.get_api_key_with_prefix("authorization") == "Bearer second"


def test_a_pod_without_a_token_has_none():
    assert connect(env=POD).client.configuration.get_api_key_with_prefix("authorization") is None


def test_a_pod_whose_token_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"KF_PIPELINES_SA_TOKEN_PATH is .*, which cannot be read"):
        connect(env=POD | {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "none")})


def test_the_kubeconfig_leads_through_a_fake_api_server_at_every_request(nowhere, monkeypatch, tmp_path):
    with FakeKubernetes().running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
        api = PipelinesApi(connect(kubeflow_namespace="kf", env={}))
        assert [api.health()["tag_name"] for _ in range(2)] == ["2.17.0"] * 2
        assert server.asked == ["GET /api/v1/namespaces/kf/services/ml-pipeline:8888/proxy/apis/v2beta1/healthz"] * 2
        assert server.headers["authorization"] == "Bearer kube-token"


def test_without_any_of_them_it_is_told(nowhere):
    with pytest.raises(ClusterError, match="there is no kubeconfig, and this is not a pod"):
        connect(env={})


@pytest.mark.parametrize("more", [{"token_file": "t"}, {"ca_file": "c"}])
def test_a_token_or_authority_without_an_address_is_a_mistake(tmp_path, more):
    with pytest.raises(UsageError, match="require --host"):
        connect(env=POD, **{name: tmp_path / value for name, value in more.items()})


def test_a_fake_api_is_asked_below_the_path_of_its_address(nowhere):
    with Api().running() as server:
        assert (
            PipelinesApi(connect(f"{server.url}/pipeline", env={})).health()["tag_name"]
            == "/pipeline/apis/v2beta1/healthz"
        )


WEB = {"tag_name": "", "apiServerTagName": "2.17.0", "apiServerReady": True}
"""What the web interface says in place of the API."""


@pytest.mark.parametrize(
    ("more", "named", "ui"),
    [({}, "", ""), (WEB, "", "itself"), ({}, "http://ui/", "http://ui"), (WEB, "http://ui/", "http://ui")],
    ids=["api", "ui", "api, ui named", "ui, ui named"],
)
def test_the_web_interface_is_where_a_fake_one_answers_or_one_is_named(nowhere, more, named, ui):
    with Api(**more).running() as server:
        health = PipelinesApi(connect(server.url, env={"KF_PIPELINES_UI_ENDPOINT": named})).health()
        assert health["ui"] == (server.url if ui == "itself" else ui)
        assert health["tag_name"] == ("2.17.0" if more else "/apis/v2beta1/healthz")


def test_a_fake_web_interface_without_an_api_behind_it_says_so(nowhere):
    with (
        Api(apiServerReady=False).running() as server,
        pytest.raises(ClusterAway, match="cannot reach its API; check that ml-pipeline runs"),
    ):
        PipelinesApi(connect(server.url, env={})).health()
