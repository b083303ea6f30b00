//! Slag Colossus (em-008), Emberfall Marches.

use crate::engine::{
    Ability, AbilityKind, Attack, CreatureSpec, Effect, EffectKind, Element, Game, Hit, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-008",
    name: "Slag Colossus",
    stage: Stage::Second,
    evolves_from: Some("Slag Brute"),
    hp: 160,
    element: Element::Stone,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 4,
    abilities: &[Ability {
        name: "Molten Hide",
        text: "Damage done to this creature by attacks of your opponent's creatures is reduced by 10 for each \
            Flame energy attached to this creature (Wild energy counts as Flame energy), but not to less than \
            10. (After weakness and resistance. Damage that is 10 or less already is not changed. It works on \
            the bench too, and protects no other creature.)",
        kind: AbilityKind::Shield(molten_hide),
    }],
    attacks: &[
        Attack {
            name: "Magma Wake",
            cost: &[Element::Flame, Element::Plain],
            damage: 30,
            text: "This attack also does 10 damage to each benched creature, both your opponent's and yours.",
            effect: magma_wake,
        },
        Attack {
            name: "Crucible Slam",
            cost: &[Element::Flame, Element::Stone, Element::Plain, Element::Plain],
            damage: 120,
            text: "After doing damage, discard 2 energy attached to this creature, of your choice (all of it if \
                there are fewer; you make one choice, the options are its energy in the order attached), and \
                this creature does 20 damage to itself. This creature can't attack during your next turn.",
            effect: crucible_slam,
        },
    ],
};

/// **Molten Hide**: Damage done to this creature by attacks of your opponent's creatures is reduced by 10 for
/// each Flame energy attached to this creature (Wild energy counts as Flame energy), but not to less than 10.
/// (After weakness and resistance. Damage that is 10 or less already is not changed. It works on the bench too,
/// and protects no other creature.)
pub fn molten_hide(game: &Game, own: Place, hit: &Hit) -> u32 {
    let flames = game.creature(own).map_or(0, |c| c.energy_for(Element::Flame)) as u32;
    hit.amount.saturating_sub(10 * flames)
}

/// **Magma Wake**: This attack also does 10 damage to each benched creature, both your opponent's and yours.
pub fn magma_wake(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 30)?;
    for place in game.bench_places(side.other()) {
        game.hit(side, place, 10)?;
    }
    Ok(damage)
}

/// **Crucible Slam**: After doing damage, discard 2 energy attached to this creature, of your choice (all of it
/// if there are fewer; you make one choice, the options are its energy in the order attached), and this
/// creature does 20 damage to itself. This creature can't attack during your next turn.
pub fn crucible_slam(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let own = Place::active(side);
    let damage = game.strike(side, 120)?;
    game.discard_energy(own, &[0, 1])?;
    game.hit(side, own, 20)?;
    let spent = Effect::turn_after_next(EffectKind::CannotAttack, game.turn);
    game.add_effect(own, spent)?;
    Ok(damage)
}
