"""Makes a user of who a provider says somebody is, and puts them into their groups' teams."""

import re
from dataclasses import dataclass, replace

from sluice.auth.actions import OWN_NAMES, AuthDeps
from sluice.auth.audit import AuditLog
from sluice.auth.audit_entries import new_entry
from sluice.auth.model import Membership, Role, User
from sluice.auth.oidc_model import OidcRules, Person
from sluice.auth.sign_in_ports import SignInStore
from sluice.base.errors import ForbiddenError, UnauthorizedError
from sluice.base.ids import UserId, new_user_id, random_id
from sluice.base.transactions import Tx

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class OidcPeople:
    """What it works with."""

    auth: AuthDeps
    store: SignInStore
    audit: AuditLog
    rules: OidcRules


async def user_for(deps: OidcPeople, *, person: Person, address: str) -> User:
    """The user whom a person is here, with their groups as they are now.

    Raises:
        ForbiddenError: their address is of another domain, or they are a stranger.
        UnauthorizedError: their user is disabled.
    """
    _check_domain(deps.rules, person)
    async with deps.auth.transactions.write() as tx:
        user = await _known(deps, tx, person)
        if user is None:
            user = await _create(deps, tx, person, address)
        if user.disabled_at is not None:
            raise UnauthorizedError(
                f"The user {user.name} is disabled; an administrator can enable them."
            )
        now = deps.auth.clock.now()
        await deps.store.put_identity(
            tx, person.issuer, person.subject, user.id, at=now
        )
        user = await _follow_admin_group(deps, tx, user, person)
        if deps.rules.groups_claim:
            await _follow_groups(deps, tx, user.id, person)
    return user


def _check_domain(rules: OidcRules, person: Person) -> None:
    if not rules.domains:
        return
    domain = (person.email or "").rpartition("@")[2]
    if domain not in rules.domains:
        raise ForbiddenError(
            "Only verified e-mail addresses of some domains may sign in here"
            " (oidc_allowed_domains), and the provider names none of them for you."
        )


async def _known(deps: OidcPeople, tx: Tx, person: Person) -> User | None:
    user_id = await deps.store.identified(tx, person.issuer, person.subject)
    if user_id is not None:
        return await deps.auth.store.get_user(tx, user_id)
    if not deps.rules.link_by_email or person.email is None:
        return None
    return await deps.auth.store.find_user(tx, person.email)


async def _create(deps: OidcPeople, tx: Tx, person: Person, address: str) -> User:
    if not deps.rules.create_users:
        raise ForbiddenError(
            "You are no user here yet, and single sign-on makes none"
            " (oidc_create_users); ask an administrator."
        )
    store = deps.auth.store
    first = await store.count_users(tx) == 0
    if first and deps.rules.admin_group not in person.groups:
        raise ForbiddenError(
            "There is no administrator here yet; the first one is made with the setup"
            " token that the server has printed (`sluice login`)."
        )
    email = person.email
    if email is not None and await store.find_user(tx, email) is not None:
        # it stays whose it is: an address alone makes nobody somebody else
        email = None
    user = User(
        id=new_user_id(),
        name=await _free_name(deps, tx, person),
        admin=False,
        created_at=deps.auth.clock.now(),
        email=email,
    )
    await store.add_user(tx, user)
    entry = new_entry(
        deps.auth.clock,
        actor=user.name,
        action="user.create",
        subject=user.id,
        detail={"by": "sso", "name": user.name, "address": address},
    )
    await deps.audit.append(tx, entry)
    return user


async def _free_name(deps: OidcPeople, tx: Tx, person: Person) -> str:
    """The person's own name in signs that names have, with an end where it is taken."""
    wanted = person.name.partition("@")[0] or (person.email or "").partition("@")[0]
    plain = _NOT_IN_NAMES.sub("-", wanted).strip("-_.")[:_LONGEST_NAME] or "user"
    own = plain.lower() in OWN_NAMES
    if not own and await deps.auth.store.find_user(tx, plain) is None:
        return plain
    return random_id(plain)[: len(plain) + 7]


async def _follow_admin_group(
    deps: OidcPeople, tx: Tx, user: User, person: Person
) -> User:
    """The last administrator stays one: nobody could make another."""
    group = deps.rules.admin_group
    is_admin = group in person.groups
    if not group or is_admin == user.admin:
        return user
    if not is_admin and not await deps.auth.store.has_other_admin(tx, user.id):
        return user
    held = await deps.auth.store.hold_user(tx, user.id)
    changed = replace(held or user, admin=is_admin)
    await deps.auth.store.save_user(tx, changed)
    entry = new_entry(
        deps.auth.clock,
        actor=user.name,
        action="user.update",
        subject=user.id,
        detail={"by": "sso", "admin": str(is_admin).lower()},
    )
    await deps.audit.append(tx, entry)
    return changed


async def _follow_groups(
    deps: OidcPeople, tx: Tx, user_id: UserId, person: Person
) -> None:
    """Into the teams of their groups, and out of those that only a group gave them."""
    store = deps.auth.store
    present = await deps.store.teams_by_sso(tx, user_id)
    wanted = {
        team.id: team.organization_id
        for team in await deps.store.sso_teams(tx)
        if team.group in person.groups
    }
    for organization_id in sorted(set(wanted.values())):
        await store.hold_organization(tx, organization_id)
        if await store.get_member(tx, organization_id, user_id) is None:
            now = deps.auth.clock.now()
            await store.add_member(
                tx, Membership(organization_id, user_id, Role.MEMBER, now)
            )
    for team_id in sorted(wanted.keys() - present.keys()):
        await store.put_team_member(tx, team_id, user_id, by_sso=True)
    for team_id, by_sso in sorted(present.items()):
        if by_sso and team_id not in wanted:
            await store.remove_team_member(tx, team_id, user_id)
