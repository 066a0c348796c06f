"""Check a round against the rest of the record: its selection, its verdicts, its metrics and its global model."""

from __future__ import annotations

from fedstream import __version__
from fedstream.aggregation.metrics import combine
from fedstream.aggregation.outcome import Outcome
from fedstream.audit.evidence import Evidence
from fedstream.audit.initial import check_initial
from fedstream.audit.noise import NOISE_ALONE, NOTHING, aggregate_without_secret
from fedstream.audit.statistics import check_statistics
from fedstream.audit.streams import Streams
from fedstream.errors import FedstreamError, StoreUnavailable, UsageError
from fedstream.privacy.accounting import within_budget
from fedstream.record.commit import Aggregation, ClientEntry, Commit
from fedstream.record.decision import decide, measurements, model_round, rolled_back
from fedstream.record.documents import Manifest, Selection, SliceDoc, Verdict, Verdicts
from fedstream.record.judge import judge, why_wrong_selection, why_wrong_verdicts
from fedstream.record.layout import RunKeys
from fedstream.record.measurement import why_implausible
from fedstream.record.run import RunRecord
from fedstream.record.weights import Weights, digest
from fedstream.steps.aggregation import aggregate_round, beside_model, same_figures
from fedstream.steps.candidates import read_candidates, read_refusals
from fedstream.steps.exchange import downloads_of
from fedstream.store.mapped import Downloads
from fedstream.store.state import RunState

JUDGED = tuple(Verdict.model_fields)
"""Fields of a verdict that the commit repeats."""


class RoundAudit:
    """Check the rounds of one run, one after another.

    Args:
        evidence: Collects the problems.
        record: The run's spec.json.
        streams: Reads the records again; None not to read them.
        secret: The secret of the noise; None to check what can be checked without it.

    Attributes:
        unproven: The rounds whose noise was not made again, and what that leaves open.
    """

    def __init__(self, evidence: Evidence, record: RunRecord, streams: Streams | None, secret: bytes | None) -> None:
        self.evidence, self.record, self.streams, self.secret = evidence, record, streams, secret
        self.unproven: dict[int, str] = {}
        self.keys, self.state = RunKeys(record.spec.run), RunState(evidence.store, record.spec.run)

    def check(self, before: list[Commit], commit: Commit) -> None:
        """Check a commit, given the earlier commits."""
        if commit.kind == "initial":
            check_initial(self.evidence, self.record, commit)
            check_statistics(self.evidence, self.record, commit, self.streams)
        elif commit.kind == "rollback":
            self._check_rollback(before, commit)
        else:
            self._check_round(before, commit)

    def _check_rollback(self, before: list[Commit], commit: Commit) -> None:
        key = self.keys.at(commit.round).commit
        if self._accused_before(before):
            return
        try:
            expected = rolled_back(before, commit.parent, commit.restores or 0)
        except UsageError as error:
            self.evidence.problem(key, str(error))
            return
        for name in Commit.model_fields.keys() - {"code_version"}:
            self.evidence.same(key, name, getattr(commit, name), getattr(expected, name))

    def _check_round(self, before: list[Commit], commit: Commit) -> None:
        keys, same = self.keys.at(commit.round), self.evidence.same
        selection, verdicts = (
            self.evidence.document(Selection, keys.selection),
            self.evidence.document(Verdicts, keys.verdicts),
        )
        if selection:
            if wrong := why_wrong_selection(self.record, selection, commit.round):
                self.evidence.problem(keys.selection, wrong)
            same(keys.selection, "kind", selection.kind, commit.kind)
        if self.evidence.has_digest(keys.verdicts, commit.verdicts_digest) and verdicts:
            entries, said = (
                [tuple(getattr(one, name) for name in JUDGED) for one in of]
                for of in (commit.clients, verdicts.verdicts)
            )
            same(keys.commit, "clients", entries, said)
        if strangers := {entry.client for entry in commit.clients} - {client.client for client in self.record.clients}:
            self.evidence.problem(keys.commit, f"client {min(strangers)!r} is not a client of the run")
            return
        manifests = [self._check_client(commit, entry) for entry in commit.clients]
        if self._accused_before(before):
            return
        same(keys.commit, "base_digest", commit.base_digest, before[-1].weights_digest)
        if all(manifest or not entry.accepted for manifest, entry in zip(manifests, commit.clients, strict=True)):
            accepted = [
                manifest
                for manifest, entry in zip(manifests, commit.clients, strict=True)
                if manifest and entry.accepted
            ]
            self._check_measurement(before, commit, accepted)
        if selection and verdicts:
            self._judge_again(before, commit, selection, verdicts)
        if commit.kind == "closing":
            same(keys.commit, "weights_digest", commit.weights_digest, before[-1].weights_digest)
            for name in ("server_state_digest", "broadcast_digest"):
                same(keys.commit, name, getattr(commit, name), getattr(before[-1], name))
            same(keys.commit, "figures", commit.figures, {})
        else:
            self._check_aggregation(before, commit)

    def _accused_before(self, before: list[Commit]) -> bool:
        return self.evidence.accused(*(self.keys.at(number).commit for number in range(len(before))))

    def _check_client(self, commit: Commit, entry: ClientEntry) -> Manifest | None:
        """Check the objects of a client, and return its manifest if it is intact and accepted."""
        keys, same = self.keys.at(commit.round), self.evidence.same
        key = keys.slice(entry.client)
        if (
            entry.slice_document
            and self.evidence.has_digest(key, entry.slice_document)
            and (document := self.evidence.document(SliceDoc, key))
        ):
            same(keys.commit, f"slice_digest of {entry.client}", entry.slice_digest, document.digest)
            same(keys.commit, f"ranges of {entry.client}", entry.ranges, document.ranges)
            if (
                entry.accepted
                and self.streams
                and (what := self.streams.check_slice(commit.round, entry.client, document))
            ):
                self.evidence.problem(key, what)
        if entry.update_digest:
            self.evidence.has_digest(keys.update(entry.client, entry.update_digest), entry.update_digest)
        if entry.client_state_digest:
            own = keys.client_state(entry.client, entry.client_state_digest)
            self.evidence.has_digest(own, entry.client_state_digest)
        key = keys.manifest(entry.client)
        if not entry.manifest_digest or not self.evidence.has_digest(key, entry.manifest_digest) or not entry.accepted:
            return None
        manifest = self.evidence.document(Manifest, key)
        if manifest:
            for name in (
                "client",
                "update_digest",
                "client_state_digest",
                "num_examples",
                "epochs",
                "slice_digest",
                "slice_document",
                "incoming",
                "trained",
            ):
                same(keys.commit, f"{name} of {entry.client}", getattr(entry, name), getattr(manifest, name))
        return manifest

    def _check_measurement(self, before: list[Commit], commit: Commit, manifests: list[Manifest]) -> None:
        same, spec, key = self.evidence.same, self.record.spec, self.keys.at(commit.round).commit
        if spec.federated_evaluation:
            incoming = [manifest.incoming for manifest in manifests if manifest.incoming]
            same(key, "metrics", commit.metrics, combine(incoming) if incoming else None)
            same(key, "evaluation_digest", commit.evaluation_digest, None)
        else:
            self._check_evaluation(before, commit)
        measured = model_round(before) if spec.federated_evaluation else commit.round
        same(key, "measured_round", commit.measured_round, measured if commit.metrics else None)
        history = [value for _, value in measurements([*before, commit], spec.target_metric)]
        decision = decide(spec, history) if commit.metrics else before[-1].decision
        same(key, "decision", commit.decision, within_budget(self.record, [*before, commit], decision))
        versions = {manifest.code_version for manifest in manifests} | {
            __version__,
            *(other.code_version for other in before),
        }
        if commit.code_version not in versions:
            self.evidence.problem(
                key, f"code_version is {commit.code_version!r}, but its updates have {', '.join(sorted(versions))}"
            )

    def _check_evaluation(self, before: list[Commit], commit: Commit) -> None:
        """Check the evaluation of a round.

        The records of the evaluation topic must be the same in every round, and the metrics must be plausible.
        """
        key, records = (
            self.keys.at(commit.round).commit,
            self.record.evaluation.records if self.record.evaluation else 0,
        )
        if commit.metrics is None or commit.evaluation_digest is None:
            self.evidence.problem(key, "the round's model was not evaluated on the evaluation topic")
            return
        self.evidence.same(key, "num_examples of its metrics", commit.metrics.num_examples, records)
        if reason := why_implausible(commit.metrics, records, self.record.spec.target_metric):
            self.evidence.problem(key, reason)
        first = next(
            (earlier.evaluation_digest for earlier in before if earlier.evaluation_digest), commit.evaluation_digest
        )
        self.evidence.same(key, "evaluation_digest", commit.evaluation_digest, first)
        if (
            self.streams
            and not self.evidence.accused(self.keys.at(commit.round).weights)
            and (what := self.streams.check_measurement(commit))
        ):
            self.evidence.problem(key, what)

    def _judge_again(self, before: list[Commit], commit: Commit, selection: Selection, verdicts: Verdicts) -> None:
        """Judge the updates again and compare the verdicts, unless the inputs are damaged."""
        keys, base, evidence = self.keys.at(commit.round), self.keys.at(model_round(before)).weights, self.evidence
        if evidence.accused(self.keys.spec, base, keys.selection, keys.verdicts, *self._of_clients(commit)):
            return
        refusals = read_refusals(self.state, commit.round)
        try:
            weights = evidence.weights(base)
            with downloads_of(evidence.store, self.record, weights) as downloads:
                candidates = read_candidates(self.state, selection, weights, downloads, {}, verdicts)
        except StoreUnavailable:
            raise
        except FedstreamError as error:
            evidence.problem(base, str(error))
            return
        known = {client: {told[client] for told in refusals.values() if client in told} for client in selection.clients}
        expected = judge(self.record, selection, before[-1].weights_digest, candidates)
        for wrong in why_wrong_verdicts(self.record, selection, expected, verdicts, known):
            evidence.problem(keys.verdicts, wrong)

    def _of_clients(self, commit: Commit) -> list[str]:
        keys, clients = self.keys.at(commit.round), [entry.client for entry in commit.clients]
        updates = [keys.update(entry.client, entry.update_digest) for entry in commit.clients if entry.update_digest]
        states = [
            keys.client_state(entry.client, entry.client_state_digest)
            for entry in commit.clients
            if entry.client_state_digest
        ]
        return [*map(keys.slice, clients), *map(keys.manifest, clients), *updates, *states]

    def _check_aggregation(self, before: list[Commit], commit: Commit) -> None:
        """Aggregate the round again and compare the global model, unless the inputs are damaged."""
        evidence, keys, base = self.evidence, self.keys.at(commit.round), self.keys.at(model_round(before))
        whole = evidence.has_digest(keys.weights, commit.weights_digest)
        for key, wanted in ((keys.server_state, commit.server_state_digest), (keys.broadcast, commit.broadcast_digest)):
            whole &= not wanted or evidence.has_digest(key, wanted)
        said = commit.aggregation
        if said != Aggregation() and (document := evidence.document(Aggregation, keys.aggregation)):
            evidence.same(keys.aggregation, "content", document, said)
        updates = [
            keys.update(entry.client, entry.update_digest)
            for entry in commit.clients
            if entry.accepted and entry.update_digest
        ]
        if not whole or evidence.accused(self.keys.spec, base.weights, base.server_state, keys.verdicts, *updates):
            return
        try:
            model = evidence.weights(base.weights)
            with downloads_of(evidence.store, self.record, model) as downloads:
                outcome = self._aggregate_again(commit, model, downloads)
        except StoreUnavailable:
            raise
        except (FedstreamError, ValueError, KeyError, ArithmeticError) as error:
            evidence.problem(keys.weights, f"cannot be aggregated again from the round's updates: {error}")
            return
        if outcome is None:
            return
        evidence.same(keys.weights, "digest", commit.weights_digest, digest(outcome.weights))
        again = beside_model(outcome)
        evidence.same(keys.commit, "server_state_digest", commit.server_state_digest, again.server_state_digest)
        evidence.same(keys.commit, "broadcast_digest", commit.broadcast_digest, again.broadcast_digest)
        if not same_figures(commit.figures, again.figures):
            evidence.same(keys.commit, "figures", commit.figures, again.figures)
        if said.contributions:  # Earlier versions recorded none.
            evidence.same(keys.commit, "contributions", said.contributions, again.contributions)

    def _aggregate_again(self, commit: Commit, base: Weights, downloads: Downloads) -> Outcome | None:
        """Aggregate a round again, as far as that is possible without the secret of its noise."""
        if self.secret or not self.record.spec.privacy.central:
            return aggregate_round(self.state, commit.round, base, commit.clients, downloads, self.secret)
        recorded = self.evidence.weights(self.keys.at(commit.round).weights)
        outcome, wrong = aggregate_without_secret(self.state, commit, base, recorded, downloads)
        if wrong:
            self.evidence.problem(self.keys.at(commit.round).weights, wrong)
        self.unproven[commit.round] = NOISE_ALONE if outcome else NOTHING
        return outcome
