// SPDX-License-Identifier: MIT
pragma solidity ^0.8.27;

import {ERC7786Recipient} from "@openzeppelin/contracts/crosschain/ERC7786Recipient.sol";

/// An example of a receiver in Solidity, on OpenZeppelin's base for ERC-7786, which knows nothing of Comity.
/// Trusts the gateway that it was deployed with, under the policies that its owner sets there.
contract Notebook is ERC7786Recipient {
    address public immutable gateway;
    address public immutable owner;

    uint256 public count;
    mapping(bytes32 senderHash => bytes) public notes;

    event Noted(bytes32 indexed receiveId, bytes sender, bytes note);

    constructor(address gate) {
        gateway = gate;
        owner = msg.sender;
    }

    function _isAuthorizedGateway(address instance, bytes calldata) internal view override returns (bool) {
        return instance == gateway;
    }

    function _processMessage(address, bytes32 receiveId, bytes calldata sender, bytes calldata payload)
        internal
        override
    {
        ++count;
        notes[keccak256(sender)] = payload;
        emit Noted(receiveId, sender, payload);
    }
}
