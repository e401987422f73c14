"""The chains of a network: what nodes and the P-chain must know for them to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from vmsdk.network import plugin
from vmsdk.network.errors import InvalidArgument
from vmsdk.network.newchain import NewChain
from vmsdk.network.pchain import Birth, PChain
from vmsdk.network.state import ChainRecord, NetworkRecord, Store
from vmsdk.network.transactions import UTXO
from vmsdk.network.wallet import LOCAL_ADDRESS, Wallet
from vmsdk.target import find


class Chains:
    """The chains of the network in `store`; `progress` is told what is done. Whoever calls holds the store's lock."""

    def __init__(self, store: Store, progress: Callable[[str], None]) -> None:
        self._store = store
        self._progress = progress

    def plan(self, new_chains: Sequence[NewChain], pchain: PChain) -> list[Birth]:
        """Plans chains that are paid for on `pchain`, and prepares what nodes need to know of them when they start.

        Raises:
            InvalidArgument: there is another VM of that name.
            NotEnoughFunds: they do not suffice.
        """
        protocol = self._store.load().protocol
        wallet = Wallet(pchain.network_id())
        utxos: Sequence[UTXO] = pchain.utxos(LOCAL_ADDRESS)
        births = []
        for new in new_chains:
            self._check_vm(new)
            self._progress(f"installing {new.target}")
            vm = plugin.place(find(new.target), new.vm_name, self._store.plugin_dir, protocol)
            birth = Birth.plan(new, vm, wallet, utxos)
            births.append(birth)
            utxos = birth.change
            self._store.write_chain_config(str(birth.chain_id), new.config, new.upgrade)
        with self._store.changing() as network:
            names = {new.name for new in new_chains}
            network.chains = [chain for chain in network.chains if chain.name not in names]
            network.chains += [_record(new, birth) for new, birth in zip(new_chains, births, strict=True)]
        self._store.write_aliases()
        return births

    def make(self, births: Iterable[Birth], pchain: PChain) -> None:
        """Makes what was planned: from now on nodes run it.

        Raises:
            TransactionFailed: the P-chain does not take a transaction.
        """
        for birth in births:
            self._progress(f"making the chain {birth.name}")
            birth.issue(pchain)

    def replace(self, network: NetworkRecord, targets: Mapping[str, str], *, all_of_them: bool) -> None:
        """Puts the plugins of these targets, by the chains' names, in place of others; or all of them anew."""
        for chain in network.chains:
            target = targets.get(chain.name, chain.target)
            if target != chain.target or all_of_them:
                chain.target = target
                plugin.place(find(target), chain.vm_name, self._store.plugin_dir, network.protocol)

    def forget(self, name: str) -> None:
        """Removes from the disk what there is of the chain, if anything."""
        with self._store.changing() as network:
            gone = [chain for chain in network.chains if chain.name == name]
            network.chains = [chain for chain in network.chains if chain.name != name]
            used = {chain.vm_id for chain in network.chains}
        for chain in gone:
            if chain.vm_id not in used:
                (self._store.plugin_dir / chain.vm_id).unlink(missing_ok=True)
            self._store.remove_chain_config(chain.chain_id)
        self._store.write_aliases()

    def check_same(self, new_chains: Iterable[NewChain]) -> None:
        """Checks that the network has chains of these names, geneses and VMs.

        Raises:
            NoSuchChain: it has none of that name.
            InvalidArgument: it is another one.
        """
        known = self._store.load()
        for new in new_chains:
            chain = known.chain(new.name)
            if chain.genesis_hash != new.genesis_hash:
                raise InvalidArgument(
                    f"the chain {new.name} in {self._store.directory} was made with another genesis, which is for good: "
                    "give another name, or remove the network first (vmsdk network clean)"
                )
            vm = plugin.id_of(find(new.target), chain.vm_name)
            if str(vm) != chain.vm_id:
                raise InvalidArgument(
                    f"the chain {new.name} is one of the VM {chain.vm_id}, and {new.target} is {vm}"
                )
            self._check_vm(new)

    def _check_vm(self, new: NewChain) -> None:
        """All chains of a VM run the same code: its plugin is one file."""
        vm = str(plugin.id_of(find(new.target), new.vm_name))
        for chain in self._store.load().chains:
            if chain.vm_id == vm and chain.target != new.target and chain.name != new.name:
                raise InvalidArgument(
                    f"the VM {chain.vm_name} is {chain.target} in this network, for the chain {chain.name}: "
                    f"give {new.target} another VM's name (--vm-name)"
                )


def check_distinct(names: Iterable[str]) -> None:
    """Raises `InvalidArgument` where two chains have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidArgument(f"two chains cannot both be called {name!r}: give one another name")
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
