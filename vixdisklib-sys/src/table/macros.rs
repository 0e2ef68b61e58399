//! `fn_table!`: one list of C functions, and everything that follows from it.

/// Makes a function table from a list of C functions: the struct, its symbol list, how to resolve it, a table that tells
/// an observer of every call, and a macro that exports the functions of such a table from a shared library.
///
/// ```text
/// fn_table! {
///     ($crate)                               // as two tokens, for the inner macro to name this crate with
///     /// Docs of the table.
///     pub struct FnTable exported by export_symbols;
///     required "some.h" {
///         /// Docs of the entry.
///         "1.0" read = Lib_Read(handle: Handle) -> VixError;
///     }
///     optional "some.h" { .. }
/// }
/// ```
///
/// The invoking crate has the types of all parameters in its root, and `c_char` and `c_void` in scope.
#[doc(hidden)]
#[macro_export]
macro_rules! fn_table {
    (
        ($d:tt $krate:tt)
        $(#[$docs:meta])*
        pub struct $table:ident exported by $export:ident;
        required $required_header:literal {
            $(
                $(#[$required_docs:meta])*
                $required_since:literal $required:ident
                    = $required_symbol:ident($($required_arg:ident: $required_type:ty),* $(,)?) $(-> $required_result:ty)?;
            )*
        }
        $(optional $optional_header:literal {
            $(
                $(#[$optional_docs:meta])*
                $optional_since:literal $optional:ident
                    = $optional_symbol:ident($($optional_arg:ident: $optional_type:ty),* $(,)?) $(-> $optional_result:ty)?;
            )*
        })*
    ) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug)]
        pub struct $table {
            $(
                $(#[$required_docs])*
                #[doc = concat!("\n\n`", stringify!($required_symbol), "`, since ", $required_since, ".")]
                pub $required: unsafe extern "C" fn($($required_arg: $required_type),*) $(-> $required_result)?,
            )*
            $($(
                $(#[$optional_docs])*
                #[doc = concat!("\n\n`", stringify!($optional_symbol), "`, since ", $optional_since, ".")]
                pub $optional: Option<unsafe extern "C" fn($($optional_arg: $optional_type),*) $(-> $optional_result)?>,
            )*)*
        }

        impl $table {
            /// Every function of the table, in the order of its fields.
            pub const SYMBOLS: &'static [$crate::Symbol] = &[
                $($crate::Symbol {
                    name: stringify!($required_symbol),
                    required: true,
                    since: $required_since,
                    header: $required_header,
                },)*
                $($($crate::Symbol {
                    name: stringify!($optional_symbol),
                    required: false,
                    since: $optional_since,
                    header: $optional_header,
                },)*)*
            ];

            /// Fills the table from the function that finds a symbol by its name, or gives null.
            ///
            /// # Errors
            /// Names every required symbol that is missing.
            ///
            /// # Safety
            /// What `find` returns for a name is null, or the C function of that name with the signature of the
            /// header, which stays loaded as long as the process runs.
            pub unsafe fn resolve(
                mut find: impl FnMut(&::core::ffi::CStr) -> *const ::core::ffi::c_void,
            ) -> ::core::result::Result<Self, $crate::MissingSymbols> {
                let mut missing = ::std::vec::Vec::new();
                $(
                    let address = find($crate::c_name!($required_symbol));
                    // SAFETY: the caller vouches for the signature; null is `None`.
                    let $required = unsafe {
                        ::core::mem::transmute::<
                            *const ::core::ffi::c_void,
                            Option<unsafe extern "C" fn($($required_type),*) $(-> $required_result)?>,
                        >(address)
                    };
                    if $required.is_none() {
                        missing.push(stringify!($required_symbol));
                    }
                )*
                $($(
                    let address = find($crate::c_name!($optional_symbol));
                    // SAFETY: as above.
                    let $optional = unsafe {
                        ::core::mem::transmute::<
                            *const ::core::ffi::c_void,
                            Option<unsafe extern "C" fn($($optional_type),*) $(-> $optional_result)?>,
                        >(address)
                    };
                )*)*
                match ($($required,)*) {
                    ($(Some($required),)*) => Ok(Self { $($required,)* $($($optional,)*)* }),
                    _ => Err($crate::MissingSymbols::new(missing)),
                }
            }
        }

        impl $table {
            /// The functions that it has, in the order of its fields.
            pub fn present(&self) -> impl Iterator<Item = &'static $crate::Symbol> {
                let present = [
                    $({ let _ = self.$required; true },)*
                    $($(self.$optional.is_some(),)*)*
                ];
                Self::SYMBOLS.iter().zip(present).filter_map(|(symbol, present)| present.then_some(symbol))
            }

            /// A table that has the functions of `O::table()` and tells `O` of every call. It costs nothing where it is
            /// not used.
            #[must_use]
            pub fn observed<O: $crate::Observer<$table>>() -> Self {
                let table = O::table();
                Self {
                    $($required: Observed::<O>::$required,)*
                    $($($optional: table.$optional.is_some().then_some(Observed::<O>::$optional),)*)*
                }
            }
        }

        /// The places of the functions in `SYMBOLS`.
        #[allow(non_camel_case_types, reason = "named as the functions are")]
        #[derive(Clone, Copy)]
        enum Index {
            $($required,)*
            $($($optional,)*)*
        }

        /// The functions of an observed table.
        struct Observed<O>(::core::marker::PhantomData<O>);

        impl<O: $crate::Observer<$table>> Observed<O> {
            $(
                unsafe extern "C" fn $required($($required_arg: $required_type),*) $(-> $required_result)? {
                    let sectors = $crate::sectors_moved!($($required_arg)*);
                    O::observe(Index::$required as usize, sectors, || {
                        // SAFETY: the caller owes what the function of the table asks for.
                        unsafe { (O::table().$required)($($required_arg),*) }
                    })
                }
            )*
            $($(
                #[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
                unsafe extern "C" fn $optional($($optional_arg: $optional_type),*) $(-> $optional_result)? {
                    let sectors = $crate::sectors_moved!($($optional_arg)*);
                    O::observe(Index::$optional as usize, sectors, || match O::table().$optional {
                        // SAFETY: the caller owes what the function of the table asks for.
                        Some(function) => unsafe { function($($optional_arg),*) },
                        None => $crate::Refusal::REFUSAL,
                    })
                }
            )*)*
        }

        /// Exports the functions of a table under their C names. For the one crate of a shared library: a program that
        /// contains two such libraries would have every symbol twice.
        ///
        /// The argument is the path of a `const` or `static` table. A function that the table lacks is exported
        /// all the same, and refuses with `VIX_E_NOT_SUPPORTED` or null.
        #[macro_export]
        macro_rules! $export {
            ($d table:path) => {
                const _: () = {
                    #[allow(unused_imports, reason = "which of them occur depends on the list")]
                    use ::core::ffi::{c_char, c_void};
                    #[allow(unused_imports, reason = "which of them occur depends on the list")]
                    use $d $krate::*;
                    $(
                        #[unsafe(no_mangle)]
                        #[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
                        unsafe extern "C" fn $required_symbol(
                            $($required_arg: $required_type),*
                        ) $(-> $required_result)? {
                            // SAFETY: the C caller owes what the function of the table asks for.
                            unsafe { ($d table.$required)($($required_arg),*) }
                        }
                    )*
                    $($(
                        #[unsafe(no_mangle)]
                        #[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
                        unsafe extern "C" fn $optional_symbol(
                            $($optional_arg: $optional_type),*
                        ) $(-> $optional_result)? {
                            match $d table.$optional {
                                // SAFETY: the C caller owes what the function of the table asks for.
                                Some(function) => unsafe { function($($optional_arg),*) },
                                None => $crate::Refusal::REFUSAL,
                            }
                        }
                    )*)*
                };
            };
        }
    };
}

/// The name of a C function as a C string.
#[doc(hidden)]
#[macro_export]
macro_rules! c_name {
    ($symbol:ident) => {
        const {
            match ::core::ffi::CStr::from_bytes_with_nul(
                concat!(stringify!($symbol), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            }
        }
    };
}
