from django.contrib.auth.decorators import login_not_required
from django.urls import path

from . import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.SignIn.as_view(), name="sign_in"),
    path("sign-out/", login_not_required(views.SignOut.as_view()), name="sign_out"),
    path("account/", views.Account.as_view(), name="account"),
    path("account/password/", views.ChangePassword.as_view(), name="change_password"),
    path("account/sessions/end/", views.EndOtherSessions.as_view(), name="end_other_sessions"),
    path("account/tokens/", views.Tokens.as_view(), name="tokens"),
    path("account/tokens/<uuid:uid>/revoke/", views.RevokeToken.as_view(), name="revoke_token"),
]
