//! Choices asked of a player, answered from a script.
//!
//! A choice of several things is one question with several picks.
//!
//! Whoever drives the game puts the answers into the script beforehand, in the order of the questions. A question
//! beyond the end of the script gets the most reserved answer: "no", or the fewest options allowed, first ones first.

use core::ops::RangeInclusive;
use std::collections::VecDeque;

use super::error::RuleError;
use super::game::Side;

/// A player's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// The positions of the chosen options, in the order chosen.
    Pick(Vec<usize>),
}

/// A question that was put to a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub side: Side,
    pub question: &'static str,
    /// How many options there were; 2 for a yes-or-no question.
    pub options: usize,
}

/// The script of answers to come, and the record of questions asked.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    script: VecDeque<Answer>,
    asked: Vec<Asked>,
}

impl Prompts {
    /// Adds answers to the end of the script.
    pub fn script(&mut self, answers: impl IntoIterator<Item = Answer>) {
        self.script.extend(answers);
    }

    /// Every question asked so far, oldest first.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Asks a yes-or-no question. Unanswered: no.
    pub fn confirm(&mut self, side: Side, question: &'static str) -> Result<bool, RuleError> {
        self.record(side, question, 2);
        match self.script.pop_front() {
            None | Some(Answer::No) => Ok(false),
            Some(Answer::Yes) => Ok(true),
            Some(Answer::Pick(_)) => Err(RuleError::BadAnswer(question)),
        }
    }

    /// Asks for some of `options` options, as many as `count` allows (never more than there are).
    ///
    /// Returns distinct positions in the order chosen. Nothing is asked where nothing can be chosen. Unanswered: the
    /// first ones, as few as allowed.
    pub fn pick(
        &mut self,
        side: Side,
        question: &'static str,
        options: usize,
        count: RangeInclusive<usize>,
    ) -> Result<Vec<usize>, RuleError> {
        let most = options.min(*count.end());
        let fewest = most.min(*count.start());
        if most == 0 {
            return Ok(Vec::new());
        }
        self.record(side, question, options);
        let picked = match self.script.pop_front() {
            None => (0..fewest).collect(),
            Some(Answer::Pick(picked)) => picked,
            Some(_) => return Err(RuleError::BadAnswer(question)),
        };
        let distinct = (1..picked.len()).all(|i| !picked[..i].contains(&picked[i]));
        let known = picked.iter().all(|&position| position < options);
        if distinct && known && (fewest..=most).contains(&picked.len()) {
            Ok(picked)
        } else {
            Err(RuleError::BadAnswer(question))
        }
    }

    /// Asks for exactly one option; `None` where there are none.
    pub fn pick_one(&mut self, side: Side, question: &'static str, options: usize) -> Result<Option<usize>, RuleError> {
        Ok(self.pick(side, question, options, 1..=1)?.first().copied())
    }

    fn record(&mut self, side: Side, question: &'static str, options: usize) {
        self.asked.push(Asked {
            side,
            question,
            options,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Side = Side::First;

    #[test]
    fn answers_come_from_the_script_in_order() {
        let mut prompts = Prompts::default();
        prompts.script([Answer::Yes, Answer::Pick(vec![2, 0])]);
        assert_eq!(prompts.confirm(ME, "sure?"), Ok(true));
        assert_eq!(prompts.pick(ME, "which?", 3, 0..=2), Ok(vec![2, 0]));
        assert_eq!(prompts.asked().len(), 2);
    }

    #[test]
    fn unanswered_questions_get_the_reserved_answer() {
        let mut prompts = Prompts::default();
        assert_eq!(prompts.confirm(ME, "sure?"), Ok(false));
        assert_eq!(prompts.pick(ME, "which?", 3, 1..=2), Ok(vec![0]));
        assert_eq!(prompts.pick(ME, "which?", 3, 0..=2), Ok(vec![]));
    }

    #[test]
    fn nothing_is_asked_where_nothing_can_be_chosen() {
        let mut prompts = Prompts::default();
        assert_eq!(prompts.pick_one(ME, "which?", 0), Ok(None));
        assert!(prompts.asked().is_empty());
    }

    #[test]
    fn an_answer_outside_the_options_is_refused() {
        for bad in [vec![3], vec![0, 0], vec![], vec![0, 1, 2]] {
            let mut prompts = Prompts::default();
            prompts.script([Answer::Pick(bad)]);
            let refused = prompts.pick(ME, "which?", 3, 1..=2);
            assert_eq!(refused, Err(RuleError::BadAnswer("which?")));
        }
    }
}
