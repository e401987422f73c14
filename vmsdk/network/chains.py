"""The chains of a network: installing, creating and checking them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vmsdk.network.chain import NewChain, id_of, place
from vmsdk.network.errors import NetworkError
from vmsdk.network.pchain import PChain
from vmsdk.network.state import ChainRecord, NetworkRecord, Store
from vmsdk.network.wallet import LOCAL_ADDRESS, UTXO, Transaction, Validator, Wallet
from vmsdk.target import find


@dataclass(frozen=True)
class Creation:
    """The signed transactions that create a chain."""

    name: str
    subnet: Transaction
    chain: Transaction
    conversion: Transaction | None
    """Gives the subnet its validators."""


class Chains:
    """The chains of the network in `store`. Callers hold the store's lock."""

    def __init__(self, store: Store, progress: Callable[[str], None]) -> None:
        self._store = store
        self._progress = progress

    def install(self, new_chains: Sequence[NewChain]) -> None:
        """Put the chains' plugins where nodes find them.

        Raises `NetworkError` if there is another VM of that name, `VMError` if one can't be
        installed.
        """
        network = self._store.load()
        for new in new_chains:
            self._check_vm(new)
            self._progress(f"installing {new.target}")
            self._place(network, new.target, new.vm_name)

    def plan(
        self, new_chains: Sequence[NewChain], pchain: PChain, validators: Collection[Validator] = ()
    ) -> list[Creation]:
        """Sign the transactions that create the chains, and write what nodes read at start.

        Nodes read a chain's name and configuration, by its ID, only when they start, and run the
        chain as soon as it exists. Raises `NetworkError` if `pchain` has not enough to spend.
        """
        wallet = Wallet(pchain.network_id())
        utxos: Sequence[UTXO] = pchain.utxos(LOCAL_ADDRESS)
        creations, records = [], []
        for new in new_chains:
            vm = id_of(find(new.target), new.vm_name)
            subnet = wallet.create_subnet(utxos)
            title = re.sub("[-_]", " ", new.name)  # only letters, digits and spaces are allowed
            chain = wallet.create_chain(subnet.change, subnet.id, title, vm, new.genesis)
            utxos, conversion = chain.change, None
            if validators:
                conversion = wallet.convert_subnet(utxos, subnet.id, chain.id, validators)
                utxos = conversion.change
            creations.append(Creation(new.name, subnet, chain, conversion))
            ids = (str(chain.id), str(subnet.id), str(vm))
            records.append(ChainRecord(new.name, *ids, new.vm_name, new.target, new.genesis_hash))
            self._store.write_chain_config(str(chain.id), new.config, new.upgrade)
        with self._store.changing() as network:
            network.chains += records
        return creations

    def create(self, creations: Iterable[Creation], pchain: PChain) -> None:
        """Create what was planned. Raises `NetworkError` if the P-chain refuses."""
        for creation in creations:
            self._progress(f"creating the chain {creation.name}")
            pchain.commit(creation.subnet, "create a subnet")
            pchain.commit(creation.chain, f"create the chain {creation.name}")
            if creation.conversion is not None:
                pchain.commit(creation.conversion, f"add the validators of {creation.name}")

    def replace(self, network: NetworkRecord, targets: Mapping[str, str], *, all_of_them: bool) -> None:
        """Install the plugins of these targets, by chain name, that have changed, or all."""
        for chain in network.chains:
            target = targets.get(chain.name, chain.target)
            if target != chain.target or all_of_them:
                chain.target = target
                self._place(network, target, chain.vm_name)

    def restore_plugins(self) -> None:
        """Reinstall missing plugins. Raises `VMError` if one can't be installed."""
        network = self._store.load()
        self._store.plugin_dir.mkdir(exist_ok=True)
        for chain in network.chains:
            if not (self._store.plugin_dir / chain.vm_id).exists():
                self._progress(f"installing {chain.target} again")
                self._place(network, chain.target, chain.vm_name)

    def forget(self, new: NewChain) -> None:
        """Remove the chain and its plugin from the disk."""
        with self._store.changing() as network:
            gone = [chain for chain in network.chains if chain.name == new.name]
            network.chains = [chain for chain in network.chains if chain.name != new.name]
            used = {chain.vm_id for chain in network.chains}
        vm = str(id_of(find(new.target), new.vm_name))
        if vm not in used:
            (self._store.plugin_dir / vm).unlink(missing_ok=True)
        for chain in gone:
            self._store.remove_chain_config(chain.chain_id)

    def check_same(self, new_chains: Iterable[NewChain]) -> None:
        """Raise `NetworkError` unless the network has chains of these names, geneses and VMs."""
        known = self._store.load()
        for new in new_chains:
            chain = known.chain(new.name)
            if chain.genesis_hash != new.genesis_hash:
                raise NetworkError(
                    f"the chain {new.name} in {self._store.directory} was created with a different genesis: "
                    "choose another name, or remove the network first (vmsdk network clean)"
                )
            vm = id_of(find(new.target), chain.vm_name)
            if str(vm) != chain.vm_id:
                raise NetworkError(
                    f"the chain {new.name} runs the VM {chain.vm_id}, but {new.target} is {vm}: "
                    "give the VM that the chain was created with, or choose another name"
                )
            self._check_vm(new)

    def _place(self, network: NetworkRecord, target: str, vm_name: str) -> None:
        place(find(target), vm_name, self._store.plugin_dir, network.protocol, network.flags)

    def _check_vm(self, new: NewChain) -> None:
        """All chains of a VM run the same code: its plugin is one file."""
        vm = str(id_of(find(new.target), new.vm_name))
        for chain in self._store.load().chains:
            if chain.vm_id == vm and chain.target != new.target and chain.name != new.name:
                raise NetworkError(
                    f"the chain {chain.name} already runs {chain.target} as the VM {chain.vm_name}: "
                    f"choose another name for the VM {new.target} (--vm-name)"
                )


def check_distinct(names: Iterable[str]) -> None:
    """Raise `NetworkError` if two chains have the same name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NetworkError(f"two chains have the name {name!r}: choose another name for one of them")
        seen.add(name)
