"""The batteries: transactions, blocks, state, mempool, gossip, receipts, feed, state sync."""
