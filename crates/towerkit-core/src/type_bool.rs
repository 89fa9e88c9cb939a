/// A boolean that is a type, so that other types can depend on it: [`True`] or [`False`].
#[doc(hidden)]
pub trait TypeBool: sealed::Sealed + 'static {
    /// The boolean as a value.
    const VALUE: bool;
    /// [`True`] if this or `B` is.
    type Or<B: TypeBool>: TypeBool;
    /// `T` if this is [`True`], `U` if it is [`False`].
    type Choose<T, U>;

    /// Calls one of two functions.
    fn choose<X, T, U>(
        input: X,
        if_true: impl FnOnce(X) -> T,
        if_false: impl FnOnce(X) -> U,
    ) -> Self::Choose<T, U>;
}

/// The [`TypeBool`] that is true.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum True {}

/// The [`TypeBool`] that is false.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum False {}

impl TypeBool for True {
    const VALUE: bool = true;
    type Or<B: TypeBool> = Self;
    type Choose<T, U> = T;

    #[inline(always)]
    fn choose<X, T, U>(
        input: X,
        if_true: impl FnOnce(X) -> T,
        _if_false: impl FnOnce(X) -> U,
    ) -> T {
        if_true(input)
    }
}

impl TypeBool for False {
    const VALUE: bool = false;
    type Or<B: TypeBool> = B;
    type Choose<T, U> = U;

    #[inline(always)]
    fn choose<X, T, U>(
        input: X,
        _if_true: impl FnOnce(X) -> T,
        if_false: impl FnOnce(X) -> U,
    ) -> U {
        if_false(input)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::True {}
    impl Sealed for super::False {}
}
