"""The names that Rust knows, as far as the rules for submissions speak of them."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


REFUSED_MACROS = _names("asm global_asm naked_asm include include_str include_bytes env option_env concat_idents")
REFUSED_ATTRIBUTES = _names(
    """no_mangle link_section export_name link link_name link_ordinal path global_allocator panic_handler cfg_attr
    macro_use macro_export no_main no_std no_core used naked target_feature proc_macro proc_macro_derive
    proc_macro_attribute test_runner start main bench test_case"""
)
INNER_ATTRIBUTES = _names("allow warn expect doc rustfmt::skip")
"""All that may stand at the head of a file; `clippy::` ones are fine too."""

STD_ROOTS = _names("std core alloc")
STD_MODULES = _names(
    """any array ascii borrow boxed cell char clone cmp collections convert default error f32 f64 fmt future hash hint
    i8 i16 i32 i64 i128 isize iter marker mem num ops option pin primitive ptr rc result slice str string sync task time
    u8 u16 u32 u64 u128 usize vec"""
)
"""Modules of the standard library that reach nothing outside of the process's own values."""

STD_MACROS = _names(
    """assert assert_eq assert_ne assert_matches debug_assert debug_assert_eq debug_assert_ne panic todo unreachable
    unimplemented matches vec format print println eprint eprintln dbg write writeln concat stringify"""
)
PRELUDE_VALUES = _names("Some None Ok Err")
PRELUDE_TYPES = _names(
    """Option Vec String Box ToString ToOwned Clone Copy Send Sync Sized Drop Fn FnMut FnOnce Iterator IntoIterator
    Extend DoubleEndedIterator ExactSizeIterator Default Eq PartialEq Ord PartialOrd AsRef AsMut Into From TryFrom
    TryInto FromIterator Unpin bool char str u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 std
    core alloc"""
)
"""Less `Result`, which honest code often makes an alias of its own."""

OPERATOR_TRAITS = _names("PartialEq PartialOrd Not Deref DerefMut")
"""What lets a value pass for whatever an assertion compares it with."""

TRAIT_METHODS = _names(
    """clone eq ne cmp partial_cmp lt le gt ge fmt hash default to_string to_owned into from try_into into_iter next
    deref as_ref borrow"""
)
