"""The chains of a network: what the nodes and the P-chain need to know to run them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from vmsdk.network.chain import NewChain, id_of, place
from vmsdk.network.errors import NetworkError
from vmsdk.network.pchain import Birth, PChain
from vmsdk.network.state import ChainRecord, NetworkRecord, Store
from vmsdk.network.transactions import UTXO
from vmsdk.network.wallet import LOCAL_ADDRESS, Wallet
from vmsdk.target import find


class Chains:
    """The chains of the network in `store`. Callers hold the store's lock; `progress` gets lines for people."""

    def __init__(self, store: Store, progress: Callable[[str], None]) -> None:
        self._store = store
        self._progress = progress

    def install(self, new_chains: Sequence[NewChain]) -> None:
        """Put the chains' plugins where nodes find them.

        Raises `NetworkError` if there is another VM of that name, `VMError` if a VM can't be installed.
        """
        network = self._store.load()
        for new in new_chains:
            self._check_vm(new)
            self._progress(f"installing {new.target}")
            place(find(new.target), new.vm_name, self._store.plugin_dir, network.protocol, network.flags)

    def plan(self, new_chains: Sequence[NewChain], pchain: PChain) -> list[Birth]:
        """Plan chains that are paid for on `pchain`, and write what nodes need to know when they start.

        Raises `NetworkError` if there is not enough to spend.
        """
        wallet = Wallet(pchain.network_id())
        utxos: Sequence[UTXO] = pchain.utxos(LOCAL_ADDRESS)
        births = []
        for new in new_chains:
            birth = Birth.plan(new, id_of(find(new.target), new.vm_name), wallet, utxos)
            births.append(birth)
            utxos = birth.change
            self._store.write_chain_config(str(birth.chain_id), new.config, new.upgrade)
        with self._store.changing() as network:
            network.chains += [_record(new, birth) for new, birth in zip(new_chains, births, strict=True)]
        self._store.write_aliases()
        return births

    def create(self, births: Iterable[Birth], pchain: PChain) -> None:
        """Create what was planned: from now on nodes run it. Raises `NetworkError` if the P-chain refuses."""
        for birth in births:
            self._progress(f"creating the chain {birth.name}")
            birth.issue(pchain)

    def replace(self, network: NetworkRecord, targets: Mapping[str, str], *, all_of_them: bool) -> None:
        """Install the plugins of these targets, by the chains' names, in place of others; or all of them again."""
        for chain in network.chains:
            target = targets.get(chain.name, chain.target)
            if target != chain.target or all_of_them:
                chain.target = target
                place(find(target), chain.vm_name, self._store.plugin_dir, network.protocol, network.flags)

    def forget(self, new: NewChain) -> None:
        """Remove from the disk what there is of the chain and of its plugin, if anything."""
        with self._store.changing() as network:
            gone = [chain for chain in network.chains if chain.name == new.name]
            network.chains = [chain for chain in network.chains if chain.name != new.name]
            used = {chain.vm_id for chain in network.chains}
        vm = str(id_of(find(new.target), new.vm_name))
        if vm not in used:
            (self._store.plugin_dir / vm).unlink(missing_ok=True)
        for chain in gone:
            self._store.remove_chain_config(chain.chain_id)
        self._store.write_aliases()

    def check_same(self, new_chains: Iterable[NewChain]) -> None:
        """Raise `NetworkError` unless the network has chains of these names, geneses and VMs."""
        known = self._store.load()
        for new in new_chains:
            chain = known.chain(new.name)
            if chain.genesis_hash != new.genesis_hash:
                raise NetworkError(
                    f"the chain {new.name} in {self._store.directory} was created with another genesis, which can't "
                    "be changed: choose another name, or remove the network first (vmsdk network clean)"
                )
            vm = id_of(find(new.target), chain.vm_name)
            if str(vm) != chain.vm_id:
                raise NetworkError(
                    f"the chain {new.name} belongs to the VM {chain.vm_id}, and {new.target} is {vm}"
                )
            self._check_vm(new)

    def _check_vm(self, new: NewChain) -> None:
        """All chains of a VM run the same code: its plugin is one file."""
        vm = str(id_of(find(new.target), new.vm_name))
        for chain in self._store.load().chains:
            if chain.vm_id == vm and chain.target != new.target and chain.name != new.name:
                raise NetworkError(
                    f"the VM {chain.vm_name} of the chain {chain.name} is {chain.target}: "
                    f"choose another name for the VM {new.target} (--vm-name)"
                )


def check_distinct(names: Iterable[str]) -> None:
    """Raise `NetworkError` if two chains have the same name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NetworkError(f"two chains cannot both be called {name!r}: choose another name for one")
        seen.add(name)


def _record(new: NewChain, birth: Birth) -> ChainRecord:
    return ChainRecord(
        new.name,
        str(birth.chain_id),
        str(birth.subnet_id),
        str(birth.vm_id),
        new.vm_name,
        new.target,
        new.genesis_hash,
    )
