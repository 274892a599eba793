"""What a chain's storage held in a final block, shown by proof rather than believed.

Trusts a quorum of providers for the hash at a height and for which height is final. From the hash down nobody is
trusted: the header is hashed again and the state is proved, so any one provider may supply a proof. No event is read,
so no other contract, and no log that a provider invents, can bring a word to be signed.
Spec: spec/verification.md, "Attestation". Twins: proofs/header.py, proofs/mpt.py.
"""

from collections.abc import Sequence
from functools import partial

import structlog

from comity.agents.attestor.duty import AttestedChain
from comity.chain.bindings import compute_snapshot_slot, compute_word_slot
from comity.chain.rpc import AccountProof, Rpc, RpcError
from comity.core.errors import ComityError, ConfigError, Invalid, NotReady, Unavailable
from comity.core.types import Address, Hash32, Lane, Word
from comity.proofs.header import Header
from comity.proofs.mpt import ProofError, verify_account, verify_storage

log = structlog.get_logger(__name__)


class StatePruned(Unavailable):
    """Providers answer, but no longer have the state of that block."""


class Witness:
    """Looks at one chain. A failing provider is passed over for proofs, never for agreement."""

    def __init__(self, chain: AttestedChain) -> None:
        self.chain = chain
        self._refused: dict[tuple[str, Address], str] = {}
        """Why a provider's last proof of a contract's state was refused: the log hears of a change only."""

    async def verify_identity(self, contracts: Sequence[Address]) -> None:
        """Check that this is the chain it should be and that the contracts are on it.

        Raises:
            ConfigError: another chain, or an address without code.
            Unavailable: too few providers agree.
        """
        claimed = await self.chain.quorum.chain_id()
        if claimed != self.chain.chain_id:
            raise ConfigError(
                "the providers serve another chain",
                chain=self.chain.name,
                expected=self.chain.chain_id,
                found=claimed,
                next_step="correct the chain's providers",
            )
        for contract in contracts:
            if not await self.chain.quorum.vote(partial(Rpc.code, address=contract)):
                raise ConfigError(
                    "there is no contract at this address",
                    chain=self.chain.name,
                    address=contract,
                    next_step="correct the lane's addresses",
                )

    async def fetch_final(self) -> Header:
        """Fetch the newest final block.

        Raises:
            NotReady: nothing is final since the start block.
            Unavailable: too few providers agree.
        """
        number = await self.chain.quorum.agreed_finalized(self.chain.finality)
        if number < self.chain.start_block:
            raise NotReady("nothing is final yet", chain=self.chain.name, final=number, start=self.chain.start_block)
        return await self.fetch_header(number)

    async def fetch_header(self, height: int) -> Header:
        """Fetch the block at a height. Raises: Unavailable, NotReady."""
        return await self.chain.quorum.agreed_header(height)

    async def prove_word(self, header: Header, contract: Address, lane: Lane) -> Word:
        """Prove what a direction of a lane held after a block; 0 for a lane that was not open.

        Raises:
            StatePruned: no provider has that state any more.
            Unavailable: no provider gives a valid proof.
        """
        [word] = await self._prove(header, contract, [compute_word_slot(lane)])
        return Word(word)

    async def prove_snapshots(self, header: Header, contract: Address, lane: Lane, nonces: Sequence[int]) -> list[Word]:
        """Prove the snapshots of these nonces; 0 where none was kept. Raises: StatePruned, Unavailable."""
        slots = [compute_snapshot_slot(lane, nonce) for nonce in nonces]
        return [Word(word) for word in await self._prove(header, contract, slots)]

    async def _prove(self, header: Header, contract: Address, slots: Sequence[Hash32]) -> list[int]:
        failures: dict[str, ComityError] = {}
        for provider in self.chain.quorum.providers:
            try:
                values = await self._ask(provider, header, contract, slots)
                self._refused.pop((provider.host, contract), None)
                return values
            except Invalid as error:
                self._note_refused(provider, contract, error)
                failures[provider.host] = error
            except (Unavailable, NotReady, RpcError) as error:
                failures[provider.host] = error
        kind = StatePruned if any(isinstance(error, RpcError) for error in failures.values()) else Unavailable
        raise kind(
            "no provider proves the state",
            chain=self.chain.name,
            height=header.number,
            failures={host: error.message for host, error in failures.items()},
        )

    def _note_refused(self, provider: Rpc, contract: Address, error: Invalid) -> None:
        why, known = f"{type(error).__name__}: {error.message}", self._refused.get((provider.host, contract))
        if why != known:
            self._refused[provider.host, contract] = why
            log.error("proof.refused", chain=self.chain.name, host=provider.host, error=error)

    async def _ask(self, provider: Rpc, header: Header, contract: Address, slots: Sequence[Hash32]) -> list[int]:
        return _verify(await provider.fetch_proof(contract, slots, header.hash), header, contract, slots)


def _verify(proof: AccountProof, header: Header, contract: Address, slots: Sequence[Hash32]) -> list[int]:
    """The proved values, all 0 where the contract is not deployed yet. Raises: ProofError, RlpError."""
    account = verify_account(header.state_root, contract, proof.nodes)
    if account is None:
        return [0] * len(slots)
    by_slot = {item.key: item.nodes for item in proof.storage}
    missing = [slot for slot in slots if slot not in by_slot]
    if missing:
        raise ProofError("a slot is not proved", slot=missing[0])
    return [verify_storage(account.storage_root, slot, by_slot[slot]) for slot in slots]
